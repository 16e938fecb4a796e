/*
 * npy_file.c -- layout: "\x93NUMPY", major, minor, length of the header (u16 in version 1, u32 in 2 and 3), the header, data. The header is a Python
 * dictionary with exactly the keys descr, fortran_order, shape, in any order, padded with blanks and ended by a newline.
 */
#include "runtime/npy_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/aside_file.h"

enum { MOST_HEADER = 1 << 16, ALIGN = 64 };

static const struct {
    fl_dtype dtype;
    const char *descr, *name;
} dtypes[] = {{FL_FLOAT, "<f4", "float32"},   {FL_DOUBLE, "<f8", "float64"}, {FL_FLOAT16, "<f2", "float16"}, {FL_INT64, "<i8", "int64"},
              {FL_INT32, "<i4", "int32"},     {FL_INT8, "|i1", "int8"},      {FL_UINT8, "|u1", "uint8"},     {FL_BOOL, "|b1", "bool"}};

const char *fl_npy_dtype_name(fl_dtype t)
{
    for (size_t i = 0; i < FL_COUNT(dtypes); i++)
        if (dtypes[i].dtype == t)
            return dtypes[i].name;
    return NULL;
}

/* -------------------------------------------------------------------------------------------------- the header */

typedef struct header {
    const char *at, *path;
    fl_diag *dg;
    fl_type type;
    bool has_descr, has_order, has_shape;
} header;

static fl_status bad_header(const header *h, const char *what)
{
    return fl_error(h->dg, FL_E_NPY, FL_FILE(h->path), "the header of this .npy file %s", what);
}

static void skip_blanks(header *h)
{
    while (*h->at == ' ')
        h->at++;
}

static bool eat(header *h, const char *word)
{
    skip_blanks(h);
    size_t n = strlen(word);
    if (strncmp(h->at, word, n) != 0)
        return false;
    h->at += n;
    return true;
}

/* A quoted word without escapes. */
static bool read_word(header *h, char *word, size_t size)
{
    skip_blanks(h);
    char quote = *h->at;
    if (quote != '\'' && quote != '"')
        return false;
    const char *end = strchr(++h->at, quote);
    if (!end || (size_t)(end - h->at) >= size)
        return false;
    memcpy(word, h->at, (size_t)(end - h->at));
    word[end - h->at] = 0;
    h->at = end + 1;
    return true;
}

static fl_status read_descr(header *h)
{
    char word[16];

    if (h->has_descr || !read_word(h, word, sizeof word))
        return bad_header(h, "has no element type of one word");
    h->has_descr = true;
    for (size_t i = 0; i < FL_COUNT(dtypes); i++)
        if (strcmp(word + 1, dtypes[i].descr + 1) == 0 && (word[0] == dtypes[i].descr[0] || (dtypes[i].descr[0] == '|' && word[0] == '<'))) {
            h->type.dtype = dtypes[i].dtype;
            return FL_OK;
        }
    (void)fl_error(h->dg, FL_E_NPY, FL_FILE(h->path), "the array has elements of type \"%s\"", word);
    fl_hint(h->dg, word[0] == '>' ? "big-endian arrays are not read: save it with .astype(a.dtype.newbyteorder('<'))"
                                  : "read are float32, float64, float16, int64, int32, int8, uint8 and bool");
    return FL_BAD_INPUT;
}

static fl_status read_order(header *h)
{
    if (h->has_order || (!eat(h, "False") && !eat(h, "True")))
        return bad_header(h, "has no fortran_order that is True or False");
    h->has_order = true;
    if (h->at[-2] == 's')
        return FL_OK;
    (void)fl_error(h->dg, FL_E_NPY, FL_FILE(h->path), "the array is column-major (fortran_order)");
    fl_hint(h->dg, "save it with numpy.ascontiguousarray(a)");
    return FL_BAD_INPUT;
}

static fl_status read_shape(header *h)
{
    if (h->has_shape || !eat(h, "("))
        return bad_header(h, "has no shape");
    h->has_shape = true;
    h->type.rank = 0;
    while (!eat(h, ")")) {
        char *end;
        if (h->type.rank == FL_MAX_RANK)
            return bad_header(h, "has more than 8 dimensions");
        if (*h->at < '0' || *h->at > '9')
            return bad_header(h, "has a shape that cannot be read");
        errno = 0;
        h->type.dims[h->type.rank++] = strtoll(h->at, &end, 10);
        if (errno)
            return bad_header(h, "has a shape that cannot be read");
        h->at = end;
        bool comma = eat(h, ",");
        skip_blanks(h);
        if (!comma && (*h->at != ')' || h->type.rank == 1)) /* Python writes (3,), never (3) */
            return bad_header(h, "has a shape that cannot be read");
    }
    return FL_OK;
}

static fl_status read_header(header *h)
{
    char key[32];

    if (!eat(h, "{"))
        return bad_header(h, "is no dictionary");
    while (!eat(h, "}")) {
        if (!read_word(h, key, sizeof key) || !eat(h, ":"))
            return bad_header(h, "is no dictionary of descr, fortran_order and shape");
        if (strcmp(key, "descr") == 0)
            FL_TRY(read_descr(h));
        else if (strcmp(key, "fortran_order") == 0)
            FL_TRY(read_order(h));
        else if (strcmp(key, "shape") == 0)
            FL_TRY(read_shape(h));
        else
            return bad_header(h, "has a key besides descr, fortran_order and shape");
        skip_blanks(h);
        if (!eat(h, ",") && *h->at != '}')
            return bad_header(h, "is no dictionary of descr, fortran_order and shape");
    }
    skip_blanks(h);
    if (strcmp(h->at, "\n") != 0)
        return bad_header(h, "does not end behind its dictionary");
    return h->has_descr && h->has_order && h->has_shape ? FL_OK : bad_header(h, "lacks descr, fortran_order or shape");
}

/* ----------------------------------------------------------------------------------------------------- reading */

/* The header's text, malloc'ed. The file stands at its data afterwards. */
static fl_status read_front(FILE *f, const char *path, char **text, fl_diag *dg)
{
    unsigned char front[12] = {0};

    bool good = fread(front, 1, 10, f) == 10 && memcmp(front, "\x93NUMPY", 6) == 0 && front[6] >= 1 && front[6] <= 3;
    if (good && front[6] > 1)
        good = fread(front + 10, 1, 2, f) == 2;
    size_t n = front[8] | (size_t)front[9] << 8 | (size_t)front[10] << 16 | (size_t)front[11] << 24;
    if (!good || n > MOST_HEADER)
        return fl_error(dg, FL_E_NPY, FL_FILE(path), "not a .npy file");
    *text = calloc(1, n + 1);
    if (!*text)
        return fl_out_of_memory(dg);
    if (fread(*text, 1, n, f) == n && strlen(*text) == n)
        return FL_OK;
    free(*text);
    return fl_error(dg, FL_E_NPY, FL_FILE(path), "this .npy file is cut short in its header");
}

static fl_status read_array(FILE *f, const char *path, fl_npy *out, fl_diag *dg)
{
    char *text = NULL;
    struct stat st;
    int64_t elements, bytes;

    FL_TRY(read_front(f, path, &text, dg));
    header h = {.at = text, .path = path, .dg = dg};
    fl_status status = read_header(&h);
    free(text);
    if (status != FL_OK)
        return status;
    elements = fl_type_elements(&h.type);
    long begin = ftell(f);
    if (begin < 0 || fstat(fileno(f), &st) != 0)
        return fl_error(dg, FL_E_READ, FL_FILE(path), "cannot read: %s", strerror(errno));
    if (elements < 0 || __builtin_mul_overflow(elements, (int64_t)fl_dtype_size(h.type.dtype), &bytes) || bytes != (int64_t)st.st_size - begin)
        return fl_error(dg, FL_E_NPY, FL_FILE(path), "the file has %lld bytes of data, its header asks for another number", (long long)st.st_size - begin);
    out->type = h.type;
    out->n_bytes = (size_t)bytes;
    out->bytes = malloc(out->n_bytes + 1);
    if (!out->bytes)
        return fl_out_of_memory(dg);
    if (fread(out->bytes, 1, out->n_bytes, f) == out->n_bytes)
        return FL_OK;
    free(out->bytes);
    return fl_error(dg, FL_E_READ, FL_FILE(path), "cannot read: %s", strerror(errno));
}

fl_status fl_npy_read(const char *path, fl_npy *out, fl_diag *dg)
{
    struct stat st;
    FILE *f = fopen(path, "re");

    *out = (fl_npy){0};
    if (!f)
        return fl_error(dg, FL_E_OPEN, FL_FILE(path), "cannot open: %s", strerror(errno));
    fl_status status = fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode) ? read_array(f, path, out, dg)
                                                                          : fl_error(dg, FL_E_OPEN, FL_FILE(path), "cannot open: not a regular file");
    fclose(f);
    if (status != FL_OK)
        *out = (fl_npy){0};
    return status;
}

void fl_npy_free(fl_npy *a)
{
    free(a->bytes);
    *a = (fl_npy){0};
}

/* ----------------------------------------------------------------------------------------------------- writing */

fl_status fl_npy_write(const char *path, const fl_type *type, const void *bytes, fl_diag *dg)
{
    const char *descr = NULL;
    char text[512];
    fl_aside a;
    int n;

    for (size_t i = 0; i < FL_COUNT(dtypes); i++)
        if (dtypes[i].dtype == type->dtype)
            descr = dtypes[i].descr;
    if (!descr)
        return fl_error(dg, FL_E_NPY_DTYPE, FL_FILE(path), "numpy has no elements of type %s", fl_dtype_name(type->dtype));
    n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int d = 0; d < type->rank; d++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%" PRId64, d ? ", " : "", type->dims[d]);
    n += snprintf(text + n, sizeof text - (size_t)n, "%s), }", type->rank == 1 ? "," : "");
    while ((10 + n + 1) % ALIGN != 0)
        text[n++] = ' ';
    text[n++] = '\n';
    FL_TRY(fl_aside_open(&a, path, dg));
    const unsigned char front[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(n & 255), (unsigned char)(n >> 8)};
    (void)fwrite(front, 1, sizeof front, a.f); /* the stream remembers failure */
    (void)fwrite(text, 1, (size_t)n, a.f);
    (void)fwrite(bytes, fl_dtype_size(type->dtype), (size_t)fl_type_elements(type), a.f);
    return fl_aside_finish(&a, dg);
}

char *fl_npy_path(const char *folder, const char *name)
{
    char *path;

    if (asprintf(&path, "%s/%s.npy", folder, name) < 0)
        return NULL;
    for (char *p = path + strlen(folder) + 1; *p; p++)
        if (*p == '/')
            *p = '_';
    return path;
}
