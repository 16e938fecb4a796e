/* flenrt.c -- the runtime's command line. */
#include <stdio.h>

int main(void)
{
    fputs("flenrt: no command yet\n", stderr);
    return 2;
}
