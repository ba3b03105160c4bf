/* counts.c - what ran, counted: all since a test last asked, and a row a kernel, see emu.h. */
#include <stdio.h>

#include "tests/emu/stream.h"

enum { KERNELS_MAX = 128 };

static ptx_counts counted;
static uint64_t products, most_instructions;
static char most_kernel[96];
static lt_emu_kernel kernels[KERNELS_MAX];
static int kernel_count;

lt_emu_counts lt_emu_count(void)
{
    emu_enter();
    const ptx_counts *c = &counted;
    lt_emu_counts out = {.launches = c->launches,
                         .blocks = c->blocks,
                         .instructions = c->instructions,
                         .lanes = c->lanes,
                         .mma = c->mma,
                         .products = products};
    memcpy(out.kernel, most_kernel, sizeof out.kernel);
    counted = (ptx_counts){.launches = 0};
    products = most_instructions = 0;
    most_kernel[0] = '\0';
    emu_leave();
    return out;
}

int lt_emu_kernels(lt_emu_kernel *out, int rows)
{
    emu_enter();
    const int count = kernel_count;
    memcpy(out, kernels, (size_t)(count < rows ? count : rows) * sizeof *out);
    kernel_count = 0;
    emu_leave();
    return count;
}

static void add(lt_emu_traffic *to, const ptx_traffic *from)
{
    to->requests += from->requests;
    to->sectors += from->sectors;
    to->ideal += from->ideal;
}

static lt_emu_kernel *row_of(const char *name)
{
    int k = 0;
    while (k < kernel_count && strcmp(kernels[k].name, name) != 0)
        k++;
    if (k == KERNELS_MAX)
        return NULL;
    if (k == kernel_count) {
        kernels[k] = (lt_emu_kernel){.launches = 0};
        (void)snprintf(kernels[k].name, sizeof kernels[k].name, "%s", name);
        kernel_count++;
    }
    return &kernels[k];
}

void emu_note_launch(const ptx_launch *l, const ptx_counts *c)
{
    const uint32_t threads = l->size[0] * l->size[1] * l->size[2];
    lt_emu_kernel *row = row_of(l->f->name);
    ptx_add_counts(&counted, c);
    if (c->instructions > most_instructions) {
        most_instructions = c->instructions;
        (void)snprintf(most_kernel, sizeof most_kernel, "%s", l->f->name);
    }
    if (row == NULL)
        return;
    row->launches++;
    row->instructions += c->instructions;
    row->mma += c->mma;
    add(&row->loads, &c->loads);
    add(&row->stores, &c->stores);
    row->threads = threads > row->threads ? threads : row->threads;
    row->dynamic_bytes =
        l->dynamic_bytes > row->dynamic_bytes ? l->dynamic_bytes : row->dynamic_bytes;
}

void emu_note_product(void) { products++; }
