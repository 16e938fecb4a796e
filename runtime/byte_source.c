#include "runtime/byte_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { INPUT_BYTES = 1 << 17 };

typedef enum packing { PLAIN, GZIP, ZSTD } packing;

struct fl_byte_source {
    const char *path;
    int fd;
    packing packing;
    bool file_ended;   /* read() has returned 0 */
    bool member_ended; /* between two gzip members or zstd frames: the file may end here */
    int64_t position;
    size_t begin, end; /* bytes of `input` not used yet */
    z_stream gzip;
    ZSTD_DStream *zstd;
    unsigned char input[INPUT_BYTES];
};

static fl_status read_fd(fl_byte_source *s, void *to, size_t n, size_t *got, fl_diag *dg)
{
    ssize_t r;
    do
        r = read(s->fd, to, n);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return fl_error(dg, FL_E_READ, FL_FILE(s->path), "cannot read: %s", strerror(errno));
    s->file_ended = r == 0;
    s->position += r;
    *got = (size_t)r;
    return FL_OK;
}

/* At least `want` bytes of input, unless the file ends before. */
static fl_status refill(fl_byte_source *s, size_t want, fl_diag *dg)
{
    memmove(s->input, s->input + s->begin, s->end - s->begin);
    s->end -= s->begin;
    s->begin = 0;
    while (s->end < want && !s->file_ended) {
        size_t got;
        FL_TRY(read_fd(s, s->input + s->end, INPUT_BYTES - s->end, &got, dg));
        s->end += got;
    }
    return FL_OK;
}

static fl_status start(fl_byte_source *s, fl_diag *dg)
{
    static const unsigned char gzip_magic[] = {0x1f, 0x8b}, zstd_magic[] = {0x28, 0xb5, 0x2f, 0xfd};

    FL_TRY(refill(s, sizeof zstd_magic, dg));
    if (s->end >= sizeof gzip_magic && !memcmp(s->input, gzip_magic, sizeof gzip_magic)) {
        if (inflateInit2(&s->gzip, 15 + 16) != Z_OK)
            return fl_out_of_memory(dg);
        s->packing = GZIP;
    } else if (s->end >= sizeof zstd_magic && !memcmp(s->input, zstd_magic, sizeof zstd_magic)) {
        s->zstd = ZSTD_createDStream();
        if (!s->zstd)
            return fl_out_of_memory(dg);
        s->packing = ZSTD;
    }
    return FL_OK;
}

fl_status fl_byte_source_open(const char *path, fl_byte_source **out, fl_diag *dg)
{
    fl_byte_source *s = calloc(1, sizeof *s);
    if (!s)
        return fl_out_of_memory(dg);
    s->path = strcmp(path, "-") ? path : "<stdin>";
    s->fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO);
    fl_status status = FL_OK;
    if (s->fd < 0)
        status = fl_error(dg, FL_E_OPEN, FL_FILE(s->path), "cannot open: %s", strerror(errno));
    else
        status = start(s, dg);
    if (status != FL_OK) {
        fl_byte_source_close(s);
        return status;
    }
    *out = s;
    return FL_OK;
}

static fl_status cut_short(const fl_byte_source *s, fl_diag *dg)
{
    return fl_error(dg, FL_E_COMPRESSED, FL_FILE(s->path), "the compressed file ends in the middle of its data");
}

static fl_status read_gzip(fl_byte_source *s, void *to, size_t n, size_t *got, fl_diag *dg)
{
    *got = 0;
    while (*got == 0) {
        if (s->begin == s->end)
            FL_TRY(refill(s, 1, dg));
        bool ended = s->begin == s->end; /* then only what the decoder still holds can come */
        if (ended && s->member_ended)
            return FL_OK;
        if (s->member_ended) { /* further members may follow; bytes that are none are padding, as for gzip itself */
            if (s->input[s->begin] != 0x1f) {
                s->begin = s->end;
                continue;
            }
            inflateReset(&s->gzip);
            s->member_ended = false;
        }
        s->gzip.next_in = s->input + s->begin;
        s->gzip.avail_in = (uInt)(s->end - s->begin);
        s->gzip.next_out = to;
        s->gzip.avail_out = (uInt)n;
        int r = inflate(&s->gzip, Z_NO_FLUSH);
        s->begin = s->end - s->gzip.avail_in;
        *got = n - s->gzip.avail_out;
        if (r == Z_STREAM_END)
            s->member_ended = true;
        else if (r == Z_MEM_ERROR)
            return fl_out_of_memory(dg);
        else if (r != Z_OK && r != Z_BUF_ERROR)
            return fl_error(dg, FL_E_COMPRESSED, FL_FILE(s->path), "the gzip data is damaged: %s",
                            s->gzip.msg ? s->gzip.msg : "wrong checksum");
        if (ended && *got == 0 && !s->member_ended)
            return cut_short(s, dg);
    }
    return FL_OK;
}

static fl_status read_zstd(fl_byte_source *s, void *to, size_t n, size_t *got, fl_diag *dg)
{
    *got = 0;
    while (*got == 0) {
        if (s->begin == s->end)
            FL_TRY(refill(s, 1, dg));
        bool ended = s->begin == s->end;
        if (ended && s->member_ended)
            return FL_OK;
        ZSTD_inBuffer in = {s->input, s->end, s->begin};
        ZSTD_outBuffer result = {to, n, 0};
        size_t r = ZSTD_decompressStream(s->zstd, &result, &in);
        s->begin = in.pos;
        *got = result.pos;
        if (ZSTD_isError(r))
            return fl_error(dg, FL_E_COMPRESSED, FL_FILE(s->path), "the zstd data is damaged: %s", ZSTD_getErrorName(r));
        s->member_ended = r == 0;
        if (ended && *got == 0 && !s->member_ended)
            return cut_short(s, dg);
    }
    return FL_OK;
}

fl_status fl_byte_source_read(fl_byte_source *s, void *to, size_t n, size_t *got, fl_diag *dg)
{
    if (n > INT32_MAX)
        n = INT32_MAX;
    if (s->packing == GZIP)
        return read_gzip(s, to, n, got, dg);
    if (s->packing == ZSTD)
        return read_zstd(s, to, n, got, dg);
    if (s->begin < s->end) {
        *got = s->end - s->begin < n ? s->end - s->begin : n;
        memcpy(to, s->input + s->begin, *got);
        s->begin += *got;
        return FL_OK;
    }
    return read_fd(s, to, n, got, dg);
}

int64_t fl_byte_source_position(const fl_byte_source *s)
{
    return s->position;
}

void fl_byte_source_close(fl_byte_source *s)
{
    if (!s)
        return;
    if (s->packing == GZIP)
        inflateEnd(&s->gzip);
    ZSTD_freeDStream(s->zstd);
    if (s->fd >= 0)
        close(s->fd);
    free(s);
}
