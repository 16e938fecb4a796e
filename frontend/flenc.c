/* flenc.c -- the compiler's command line. */
#include <stdio.h>

int main(void)
{
    fputs("flenc: no command yet\n", stderr);
    return 2;
}
