/*
 * mutate_model.c -- how libFuzzer changes a model.bin: one part of it, after which the container is written anew, so that checksums are right
 * and the part is read. Graphs change by fields, JSON by numbers and bytes.
 */
#include "tests/fuzz/mutate_wire.h"

#include "ir/model.h"
#include "ir/zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t most, unsigned seed);

/* One number of a JSON text becomes another. */
static size_t change_number(uint8_t *text, size_t n, size_t most, uint64_t *random)
{
    static const char *const numbers[] = {"0", "-1", "1", "64", "9223372036854775807", "-9223372036854775808", "4294967296", "1e308", "0.5", "null", "[]"};
    const char *with = numbers[mutate_random(random) % (sizeof numbers / sizeof *numbers)];
    size_t length = strlen(with), start = n ? mutate_random(random) % n : 0, end;
    while (start < n && (text[start] < '0' || text[start] > '9'))
        start++;
    for (end = start; end < n && text[end] >= '0' && text[end] <= '9';)
        end++;
    if (start == n || n - (end - start) + length > most)
        return LLVMFuzzerMutate(text, n, most);
    memmove(text + start + length, text + end, n - end);
    memcpy(text + start, with, length);
    return n - (end - start) + length;
}

static size_t change_part(const char *name, uint8_t *part, size_t n, size_t most, uint64_t *random)
{
    size_t length = strlen(name);
    if (length > 5 && strcmp(name + length - 5, ".onnx") == 0)
        return mutate_wire(part, n, most, random);
    if (length > 5 && strcmp(name + length - 5, ".json") == 0 && mutate_random(random) % 3 != 0)
        return change_number(part, n, most, random);
    return LLVMFuzzerMutate(part, n, most);
}

/* All parts into a file, with the changed one in its place; false if the container cannot hold them. */
static bool write_parts(int fd, const uint8_t *bytes, const fl_zip_entry *e, uint32_t n, uint32_t changed, const uint8_t *part, size_t n_part)
{
    fl_zip_writer z;
    fl_zip_writer_init(&z, fd, "fuzz");
    for (uint32_t i = 0; i < n; i++) {
        const void *from = i == changed ? part : bytes + e[i].offset;
        size_t size = i == changed ? n_part : (size_t)e[i].size;
        if (fl_zip_begin(&z, e[i].name, size, NULL) != FL_OK || fl_zip_write(&z, from, size, NULL) != FL_OK)
            return false;
    }
    return fl_zip_finish(&z, NULL) == FL_OK;
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n, size_t most, unsigned seed)
{
    static fl_zip_entry e[FL_ZIP_MAX_ENTRIES];
    uint64_t random = seed;
    uint32_t n_entries = 0;
    if (seed % 32 == 0 || fl_zip_read(bytes, n, "fuzz", e, &n_entries, NULL) != FL_OK || n_entries == 0)
        return LLVMFuzzerMutate(bytes, n, most);
    uint32_t k = (uint32_t)(mutate_random(&random) % n_entries);
    size_t room = (size_t)e[k].size + 4096, got = 0;
    uint8_t *part = malloc(room);
    int fd = memfd_create("mutate", MFD_CLOEXEC);
    if (part && fd >= 0) {
        memcpy(part, bytes + e[k].offset, (size_t)e[k].size);
        size_t n_part = change_part(e[k].name, part, (size_t)e[k].size, room, &random);
        off_t size = write_parts(fd, bytes, e, n_entries, k, part, n_part) ? lseek(fd, 0, SEEK_END) : 0;
        if (size > 0 && (size_t)size <= most && pread(fd, bytes, (size_t)size, 0) == size)
            got = (size_t)size;
    }
    if (fd >= 0)
        close(fd);
    free(part);
    return got ? got : n;
}
