/*
 * llvm_object.c -- the whole linker that position-independent code without data needs, of objects that have nothing to do with each other.
 *
 * Code of the small model with internal symbols leaves one kind of relocation, S + A - P in 32 bits. The image is at once
 * a flat file that can be mapped and called, and an ordinary shared object: dlopen, objdump, perf and gdb know it.
 */
#include "backend/llvm/llvm_object.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SECTIONS = 64, N_PROGRAM_HEADERS = 3, N_DYNAMIC = 6, N_OUT_SECTIONS = 7 };

typedef struct object {
    const uint8_t *in;
    size_t in_size;
    const Elf64_Shdr *sections;
    unsigned n_sections;
    const Elf64_Sym *symbols;
    size_t n_symbols;
    const char *strings;
    uint64_t address[MAX_SECTIONS]; /* in the image; 0: not laid out */
} object;

typedef struct linker {
    object objects[FL_MAX_OBJECTS];
    unsigned n_objects;
    uint8_t *out;
    uint64_t size;
    uint64_t text, text_end, dynsym, dynstr, dynstr_end, hash, hash_end, dynamic, names;
    uint32_t n_exported;
    fl_diag *dg;
} linker;

static fl_status refuse(linker *l, const char *what)
{
    return fl_error(l->dg, FL_E_GENERATED_CODE, FL_NOWHERE, "generated code has %s", what);
}

static uint64_t align_up(uint64_t n, uint64_t alignment)
{
    return alignment > 1 ? (n + alignment - 1) / alignment * alignment : n;
}

static bool is_exported(const object *o, const Elf64_Sym *s)
{
    return ELF64_ST_BIND(s->st_info) == STB_GLOBAL && s->st_shndx != SHN_UNDEF && s->st_shndx < o->n_sections &&
           ELF64_ST_TYPE(s->st_info) == STT_FUNC;
}

static fl_status read_object(linker *l, object *o)
{
    const Elf64_Ehdr *h = (const Elf64_Ehdr *)o->in;

    if (o->in_size < sizeof *h || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 || h->e_machine != EM_X86_64 ||
        h->e_type != ET_REL || h->e_shnum > MAX_SECTIONS ||
        h->e_shoff + h->e_shnum * sizeof(Elf64_Shdr) > o->in_size)
        return refuse(l, "a form that is no x86-64 object");
    o->sections = (const Elf64_Shdr *)(o->in + h->e_shoff);
    o->n_sections = h->e_shnum;
    for (unsigned i = 0; i < o->n_sections; i++) {
        const Elf64_Shdr *s = &o->sections[i];

        if (s->sh_type == SHT_SYMTAB) {
            o->symbols = (const Elf64_Sym *)(o->in + s->sh_offset);
            o->n_symbols = s->sh_size / sizeof(Elf64_Sym);
            o->strings = (const char *)(o->in + o->sections[s->sh_link].sh_offset);
        }
        if ((s->sh_flags & SHF_ALLOC) != 0 && (s->sh_flags & SHF_WRITE) != 0 && s->sh_size > 0)
            return refuse(l, "writable data");
    }
    if (o->symbols == NULL)
        return refuse(l, "no symbols");
    for (size_t i = 1; i < o->n_symbols; i++)
        if (o->symbols[i].st_shndx == SHN_UNDEF)
            return fl_error(l->dg, FL_E_GENERATED_CODE, FL_NOWHERE, "generated code calls \"%s\", which it does not contain",
                            o->strings + o->symbols[i].st_name);
    return FL_OK;
}

/* Sections with code, or without, from `at` on; returns where they end. */
static uint64_t lay_out_sections(object *o, bool code, uint64_t at)
{
    for (unsigned i = 0; i < o->n_sections; i++) {
        const Elf64_Shdr *s = &o->sections[i];

        if ((s->sh_flags & SHF_ALLOC) == 0 || s->sh_size == 0 || code != ((s->sh_flags & SHF_EXECINSTR) != 0) || s->sh_type == SHT_NOTE ||
            s->sh_type == SHT_NOBITS)
            continue;
        at = align_up(at, s->sh_addralign);
        o->address[i] = at;
        at += s->sh_size;
    }
    return at;
}

/* Offsets of everything; executable sections first. */
static void lay_out(linker *l)
{
    uint64_t at = sizeof(Elf64_Ehdr) + N_PROGRAM_HEADERS * sizeof(Elf64_Phdr);

    l->dynsym = at = align_up(at, 8);
    l->n_exported = 0;
    l->dynstr_end = 1;
    for (const object *o = l->objects; o < l->objects + l->n_objects; o++)
        for (size_t i = 1; i < o->n_symbols; i++)
            if (is_exported(o, &o->symbols[i])) {
                l->n_exported++;
                l->dynstr_end += strlen(o->strings + o->symbols[i].st_name) + 1;
            }
    at += (l->n_exported + 1) * sizeof(Elf64_Sym);
    l->dynstr = at;
    l->dynstr_end += at;
    l->hash = at = align_up(l->dynstr_end, 8);
    l->hash_end = at += (2 + l->n_exported + 1 + l->n_exported + 1) * sizeof(uint32_t);
    l->dynamic = at = align_up(at, 8);
    at += N_DYNAMIC * sizeof(Elf64_Dyn);
    l->text = at = align_up(at, 64);
    for (int pass = 0; pass < 2; pass++) {
        for (object *o = l->objects; o < l->objects + l->n_objects; o++)
            at = lay_out_sections(o, pass == 0, at);
        if (pass == 0)
            l->text_end = at;
    }
    l->names = at;
    l->size = at;
}

static void copy_sections(linker *l, const object *o)
{
    for (unsigned i = 0; i < o->n_sections; i++)
        if (o->address[i] != 0)
            memcpy(l->out + o->address[i], o->in + o->sections[i].sh_offset, o->sections[i].sh_size);
}

static fl_status relocate_section(linker *l, const object *o, const Elf64_Shdr *rela)
{
    const Elf64_Rela *r = (const Elf64_Rela *)(o->in + rela->sh_offset);
    uint64_t base = o->address[rela->sh_info];

    for (uint64_t i = 0; base != 0 && i < rela->sh_size / sizeof *r; i++) {
        const Elf64_Sym *s = &o->symbols[ELF64_R_SYM(r[i].r_info)];
        uint64_t type = ELF64_R_TYPE(r[i].r_info), place = base + r[i].r_offset;
        int64_t value;
        int32_t word;

        if (type != R_X86_64_PC32 && type != R_X86_64_PLT32)
            return fl_error(l->dg, FL_E_GENERATED_CODE, FL_NOWHERE, "generated code has a relocation of type %u",
                            (unsigned)type);
        if (s->st_shndx >= o->n_sections || o->address[s->st_shndx] == 0)
            return refuse(l, "a relocation against something outside of it");
        value = (int64_t)(o->address[s->st_shndx] + s->st_value) + r[i].r_addend - (int64_t)place;
        if (value != (int32_t)value)
            return refuse(l, "a relocation beyond 2 GiB");
        word = (int32_t)value;
        memcpy(l->out + place, &word, sizeof word);
    }
    return FL_OK;
}

static uint32_t elf_hash(const char *name)
{
    uint32_t h = 0;

    for (; *name != '\0'; name++) {
        uint32_t high;

        h = (h << 4) + (uint8_t)*name;
        high = h & 0xf0000000u;
        h ^= high >> 24;
        h &= ~high;
    }
    return h;
}

/* .dynsym, .dynstr and .hash, the latter with one bucket a symbol. */
static void write_symbols(linker *l)
{
    Elf64_Sym *sym = (Elf64_Sym *)(l->out + l->dynsym);
    char *strings = (char *)(l->out + l->dynstr);
    uint32_t *hash = (uint32_t *)(l->out + l->hash), *bucket, *chain, n = 1, at = 1;

    hash[0] = l->n_exported > 0 ? l->n_exported : 1;
    hash[1] = l->n_exported + 1;
    bucket = hash + 2;
    chain = bucket + hash[0];
    for (const object *o = l->objects; o < l->objects + l->n_objects; o++) {
        for (size_t i = 1; i < o->n_symbols; i++) {
            const Elf64_Sym *s = &o->symbols[i];
            const char *name = o->strings + s->st_name;
            uint32_t h;

            if (!is_exported(o, s))
                continue;
            sym[n] = (Elf64_Sym){.st_name = at,
                                 .st_info = s->st_info,
                                 .st_other = STV_DEFAULT,
                                 .st_shndx = 1, /* .text */
                                 .st_value = o->address[s->st_shndx] + s->st_value,
                                 .st_size = s->st_size};
            memcpy(strings + at, name, strlen(name) + 1);
            at += (uint32_t)strlen(name) + 1;
            h = elf_hash(name) % hash[0];
            chain[n] = bucket[h];
            bucket[h] = n++;
        }
    }
}

static void write_dynamic(linker *l)
{
    const Elf64_Dyn entries[N_DYNAMIC] = {{DT_HASH, {l->hash}},
                                          {DT_SYMTAB, {l->dynsym}},
                                          {DT_STRTAB, {l->dynstr}},
                                          {DT_STRSZ, {l->dynstr_end - l->dynstr}},
                                          {DT_SYMENT, {sizeof(Elf64_Sym)}},
                                          {DT_NULL, {0}}};

    memcpy(l->out + l->dynamic, entries, sizeof entries);
}

static const char section_names[] = "\0.text\0.rodata\0.dynsym\0.dynstr\0.hash\0.dynamic\0.shstrtab";

/* Section headers, for people's tools; the loader reads program headers only. */
static void write_headers(linker *l, uint64_t names, uint64_t section_headers)
{
    Elf64_Ehdr *h = (Elf64_Ehdr *)l->out;
    Elf64_Phdr *p = (Elf64_Phdr *)(l->out + sizeof *h);
    Elf64_Shdr *s = (Elf64_Shdr *)(l->out + section_headers);
    uint64_t dynamic_size = N_DYNAMIC * sizeof(Elf64_Dyn);

    memcpy(h->e_ident, ELFMAG, SELFMAG);
    h->e_ident[EI_CLASS] = ELFCLASS64;
    h->e_ident[EI_DATA] = ELFDATA2LSB;
    h->e_ident[EI_VERSION] = EV_CURRENT;
    h->e_type = ET_DYN;
    h->e_machine = EM_X86_64;
    h->e_version = EV_CURRENT;
    h->e_phoff = sizeof *h;
    h->e_shoff = section_headers;
    h->e_ehsize = sizeof *h;
    h->e_phentsize = sizeof *p;
    h->e_phnum = N_PROGRAM_HEADERS;
    h->e_shentsize = sizeof *s;
    h->e_shnum = N_OUT_SECTIONS + 1;
    h->e_shstrndx = N_OUT_SECTIONS;
    p[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_filesz = l->names, .p_memsz = l->names, .p_align = 4096};
    p[1] = (Elf64_Phdr){PT_DYNAMIC, PF_R, l->dynamic, l->dynamic, l->dynamic, dynamic_size, dynamic_size, 8};
    p[2] = (Elf64_Phdr){.p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W, .p_align = 16};
    s[1] = (Elf64_Shdr){1, SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, l->text, l->text, l->text_end - l->text, 0, 0, 64, 0};
    s[2] = (Elf64_Shdr){7, SHT_PROGBITS, SHF_ALLOC, l->text_end, l->text_end, l->names - l->text_end, 0, 0, 1, 0};
    s[3] = (Elf64_Shdr){15, SHT_DYNSYM, SHF_ALLOC, l->dynsym, l->dynsym, (l->n_exported + 1) * sizeof(Elf64_Sym),
                        4,  1,          8,         sizeof(Elf64_Sym)};
    s[4] = (Elf64_Shdr){23, SHT_STRTAB, SHF_ALLOC, l->dynstr, l->dynstr, l->dynstr_end - l->dynstr, 0, 0, 1, 0};
    s[5] = (Elf64_Shdr){31, SHT_HASH, SHF_ALLOC, l->hash, l->hash, l->hash_end - l->hash, 3, 0, 8, 4};
    s[6] = (Elf64_Shdr){37, SHT_DYNAMIC, SHF_ALLOC, l->dynamic, l->dynamic, dynamic_size, 4, 0, 8, sizeof(Elf64_Dyn)};
    s[7] = (Elf64_Shdr){46, SHT_STRTAB, 0, 0, names, sizeof section_names, 0, 0, 1, 0};
}

static fl_status relocate(linker *l, const object *o)
{
    for (unsigned i = 0; i < o->n_sections; i++)
        if (o->sections[i].sh_type == SHT_RELA && o->sections[i].sh_info < o->n_sections)
            FL_TRY(relocate_section(l, o, &o->sections[i]));
    return FL_OK;
}

fl_status fl_objects_link(const fl_object *objects, unsigned n, void **image, size_t *size, fl_diag *dg)
{
    linker l = {.n_objects = n, .dg = dg};
    uint64_t headers;
    fl_status status = FL_OK;

    for (unsigned i = 0; i < n; i++) {
        l.objects[i] = (object){.in = objects[i].bytes, .in_size = objects[i].size};
        FL_TRY(read_object(&l, &l.objects[i]));
    }
    lay_out(&l);
    headers = align_up(l.names + sizeof section_names, 8);
    l.size = headers + (N_OUT_SECTIONS + 1) * sizeof(Elf64_Shdr);
    l.out = calloc(1, l.size);
    if (l.out == NULL)
        return fl_out_of_memory(dg);
    for (unsigned i = 0; i < n; i++)
        copy_sections(&l, &l.objects[i]);
    for (unsigned i = 0; status == FL_OK && i < n; i++)
        status = relocate(&l, &l.objects[i]);
    if (status != FL_OK) {
        free(l.out);
        return status;
    }
    write_symbols(&l);
    write_dynamic(&l);
    memcpy(l.out + l.names, section_names, sizeof section_names);
    write_headers(&l, l.names, headers);
    *image = l.out;
    *size = l.size;
    return FL_OK;
}
