#include "runtime/code_cache.h"

#include "runtime/generator_id.h"
#include "ir/base/planted.h"
#include "runtime/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------------- the CPU */

static const char *const levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};

static size_t machine_level(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi") ||
        !__builtin_cpu_supports("bmi2"))
        return 0;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512cd") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return 1;
    return 2;
#else
    return 0;
#endif
}

const char *fl_cpu_level(void)
{
    return levels[machine_level()];
}

fl_status fl_cpu_check_on(const char *cpu, size_t best, const char **level, fl_diag *dg)
{
    for (size_t i = 0; cpu && i < FL_COUNT(levels); i++) {
        /* "v3" is short for "x86-64-v3". */
        if (strcmp(cpu, levels[i]) != 0 && strcmp(cpu, levels[i] + strlen("x86-64-")) != 0)
            continue;
        *level = levels[i];
        return i <= best ? FL_OK
                         : fl_error(dg, FL_E_CPU_LEVEL, FL_NOWHERE, "this machine has no %s, at most %s", levels[i], levels[best]);
    }
    if (cpu)
        return fl_error(dg, FL_E_CPU_NAME, FL_NOWHERE, "unknown CPU level \"%s\"; there are x86-64-v2, x86-64-v3 and x86-64-v4", cpu);
    *level = levels[best];
    return FL_OK;
}

fl_status fl_cpu_check(const char *cpu, const char **level, fl_diag *dg)
{
    return fl_cpu_check_on(cpu, machine_level(), level, dg);
}

/* -------------------------------------------------------------------------------------------------- files */

/* Behind the image: its sum and a mark. */
typedef struct trailer {
    uint8_t digest[32];
    char mark[8];
} trailer;

static const char mark[8] = {'f', 'l', 'e', 'n', 'c', 'o', 'd', 'e'};

static void digest_of(const void *bytes, size_t n, uint8_t *digest)
{
    fl_sha256 h;
    fl_sha256_init(&h);
    fl_sha256_add(&h, bytes, n);
    fl_sha256_end(&h, digest);
}

/* False if the user has no place for a cache. */
static bool folder_of(const fl_code_cache_options *o, char *folder, size_t size)
{
    const char *given = o->folder ? o->folder : getenv("FLEN_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n;

    if (given && *given)
        n = snprintf(folder, size, "%s", given);
    else if (xdg && *xdg == '/')
        n = snprintf(folder, size, "%s/flen", xdg);
    else if (home && *home == '/')
        n = snprintf(folder, size, "%s/.cache/flen", home);
    else
        return false;
    return n > 0 && (size_t)n < size;
}

/* Make the folder and those above it; errors show when a file is to be made in it. */
static void make_folder(char *folder)
{
    for (char *p = folder + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            (void)mkdir(folder, 0755);
            *p = '/';
        }
    (void)mkdir(folder, 0700);
}

static void name_of(const char *folder, const fl_code_cache_options *o, const char *cpu, char *path, size_t size)
{
    uint8_t digest[32];
    char abi[160];
    fl_sha256 h;

    fl_sha256_init(&h);
    snprintf(abi, sizeof abi, "flen %s %s abi %d %s%s %.48s\n", FLEN_VERSION, FLEN_GENERATOR_ID, FL_ABI_VERSION, cpu, o->timed ? " timed" : "", fl_planted_name());
    fl_sha256_add(&h, abi, strlen(abi));
    fl_sha256_add(&h, o->program, o->program_bytes);
    fl_sha256_end(&h, digest);
    size_t at = (size_t)snprintf(path, size, "%s/", folder);
    for (int i = 0; i < 32 && at + 3 < size; i++)
        at += (size_t)snprintf(path + at, size - at, "%02x", digest[i]);
}

/* A file that this user owns, nobody else may write, and whose sum is right; -1 otherwise. */
static int open_checked(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    bool good = false;

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022) &&
        st.st_size > (off_t)sizeof(trailer)) {
        size_t n = (size_t)st.st_size - sizeof(trailer);
        uint8_t *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0), digest[32];
        if (map != MAP_FAILED) {
            const trailer *t = (const void *)(map + n);
            digest_of(map, n, digest);
            good = memcmp(t->mark, mark, sizeof mark) == 0 && memcmp(t->digest, digest, sizeof digest) == 0;
            munmap(map, (size_t)st.st_size);
        }
    }
    if (good)
        return fd;
    close(fd);
    return -1;
}

static bool write_all(int fd, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;

    while (n > 0) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

/* Aside and renamed. Failing is allowed: the next process compiles again. */
static void store_image(const char *path, const void *image, size_t n)
{
    char aside[PATH_MAX + 32];
    trailer t;

    snprintf(aside, sizeof aside, "%s.tmp.%ld", path, (long)getpid());
    int fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    digest_of(image, n, t.digest);
    memcpy(t.mark, mark, sizeof mark);
    bool good = write_all(fd, image, n) && write_all(fd, &t, sizeof t);
    good = close(fd) == 0 && good;
    if (!good || rename(aside, path) != 0)
        unlink(aside);
}

/* ---------------------------------------------------------------------------------------------- compiling */

/*
 * A code generator that ends the process would print once more what the parent has buffered, and run what the parent registered. (Flushing in the parent would
 * wait for threads of a host program that are reading from a stream.)
 */
static void end_child(void)
{
    _exit(1);
}

/* In the child: 'I' and the image, or 'E', the code, and the text of the first error. */
static void compile_and_send(const fl_graph *g, const fl_code_cache_options *o, const char *cpu, int fd)
{
    void *image = NULL;
    size_t n = 0;
    fl_diag dg;

    (void)atexit(end_child); /* the newest runs first */
    fl_diag_init(&dg);
    fl_status status = o->compile(g, cpu, o->timed ? "timed" : "image", &image, &n, &dg);
    if (status == FL_OK) {
        _exit(write_all(fd, "I", 1) && write_all(fd, image, n) ? 0 : 1);
    }
    const char *text = dg.n_entries > 0 && dg.entries[0].text ? dg.entries[0].text : fl_status_text(status);
    int code = dg.n_entries > 0 ? (int)dg.entries[0].code : (int)FL_E_CODE_DIED;
    _exit(write_all(fd, "E", 1) && write_all(fd, &code, sizeof code) && write_all(fd, text, strlen(text)) ? 0 : 1);
}

static fl_status read_all(int fd, uint8_t **bytes, size_t *n, fl_diag *dg)
{
    size_t capacity = 0;

    for (;;) {
        if (*n + 65536 + 1 > capacity) {
            capacity = capacity * 2 + (1 << 18);
            uint8_t *more = realloc(*bytes, capacity);
            if (!more)
                return fl_out_of_memory(dg);
            *bytes = more;
        }
        ssize_t k = read(fd, *bytes + *n, capacity - *n - 1);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            break;
        *n += (size_t)k;
    }
    (*bytes)[*n] = 0;
    return FL_OK;
}

/* The code generator brings megabytes and its own ways to die: it lives and dies in a child. */
static fl_status compile_in_child(const fl_graph *g, const fl_code_cache_options *o, const char *cpu, uint8_t **bytes, size_t *n,
                                  fl_diag *dg)
{
    int ends[2], status = 0, code = 0;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return fl_error(dg, FL_E_CODE_DIED, FL_NOWHERE, "the code generator cannot be started: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        compile_and_send(g, o, cpu, ends[1]);
    }
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        return fl_error(dg, FL_E_CODE_DIED, FL_NOWHERE, "the code generator cannot be started: %s", strerror(errno));
    }
    fl_status result = read_all(ends[0], bytes, n, dg);
    close(ends[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    FL_TRY(result);
    if (WIFSIGNALED(status) || *n < 1 || WEXITSTATUS(status) != 0)
        return fl_error(dg, FL_E_CODE_DIED, FL_NOWHERE, "the code generator died (%s %d)", WIFSIGNALED(status) ? "signal" : "status",
                        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    if ((*bytes)[0] == 'I')
        return FL_OK;
    if (*n > 1 + sizeof code)
        memcpy(&code, *bytes + 1, sizeof code);
    return fl_error(dg, (fl_code)code, FL_NOWHERE, "%s", (const char *)*bytes + 1 + sizeof code);
}

static fl_status generate(const fl_graph *g, const fl_code_cache_options *o, const char *cpu, uint8_t **bytes, size_t *n, fl_diag *dg)
{
#ifdef __SANITIZE_ADDRESS__
    /* Its allocator, unlike glibc's, does not take its locks around a fork: a child of a process with threads may find one taken for ever. */
    struct stat threads;
    if (stat("/proc/self/task", &threads) == 0 && threads.st_nlink > 2 + 1) {
        void *image = NULL;
        FL_TRY(o->compile(g, cpu, o->timed ? "timed" : "image", &image, n, dg));
        *bytes = malloc(++*n);
        if (*bytes)
            memcpy(*bytes + 1, image, *n - 1);
        free(image);
        return *bytes ? FL_OK : fl_out_of_memory(dg);
    }
#endif
    return compile_in_child(g, o, cpu, bytes, n, dg);
}

fl_status fl_code_cache_get(const fl_graph *g, const fl_code_cache_options *options, fl_image **out, bool *hit, fl_diag *dg)
{
    char folder[PATH_MAX - 128], path[PATH_MAX];
    const char *cpu;
    uint8_t *bytes = NULL;
    size_t n = 0;

    FL_TRY(fl_cpu_check(options->cpu, &cpu, dg));
    bool have_folder = folder_of(options, folder, sizeof folder);
    if (have_folder) {
        name_of(folder, options, cpu, path, sizeof path);
        int fd = open_checked(path);
        if (fd >= 0 && fl_image_load_fd(fd, path, out, NULL) == FL_OK) {
            *hit = true;
            return FL_OK;
        }
    }
    *hit = false;
    fl_status status = generate(g, options, cpu, &bytes, &n, dg);
    if (status == FL_OK && have_folder) {
        make_folder(folder);
        store_image(path, bytes + 1, n - 1);
    }
    if (status == FL_OK)
        status = fl_image_load_bytes(bytes + 1, n - 1, "generated code", out, dg);
    free(bytes);
    return status;
}
