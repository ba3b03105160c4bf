/* op_flops.c - how much arithmetic an op is.
 * What dry counts, and what shows how far a long step has come. */
#include "kernels/backend.h"

/* Pairs of a query and a key that it sees: query i sees min(Sk, i + q_first + 1) keys, none below
 * 0. */
static double pairs_of(const lt_op *op)
{
    const int64_t queries = lt_row_count(&op->in[0]), keys = lt_row_count(&op->in[1]);
    if (!op->causal)
        return (double)queries * (double)keys;
    double pairs = 0;
    for (int64_t i = 0; i < queries; i++) {
        const int64_t seen = i + op->q_first + 1;
        pairs += (double)(seen < 0 ? 0 : seen > keys ? keys : seen);
    }
    return pairs;
}

double lt_op_flops(const lt_op *op)
{
    const double elements = (double)lt_elements(&op->out[0]);
    switch (op->kind) {
    case LT_OP_LINEAR:
        return 2.0 * (double)lt_row_count(&op->out[0]) * (double)op->linear->in *
               (double)op->linear->out;
    case LT_OP_CONV: { /* plain: taps an output cell; transposed: taps an input cell */
        const lt_conv_spec *spec = &op->conv->spec;
        const lt_tensor *cells = spec->transposed ? &op->in[0] : &op->out[0];
        return 2.0 * (double)lt_row_count(cells) * (double)spec->in * (double)spec->out *
               (double)(spec->kernel[0] * spec->kernel[1] * spec->kernel[2]);
    }
    case LT_OP_ATTENTION:
        return 4.0 * pairs_of(op) * (double)lt_row_width(&op->in[0]);
    case LT_OP_COPY:
    case LT_OP_FILL:
    case LT_OP_GATHER_ROWS:
    case LT_OP_SCATTER_ROWS:
    case LT_OP_PAD_REFLECT:
        return 0;
    case LT_OP_MUL:
    case LT_OP_CLAMP:
        return elements;
    case LT_OP_AXPBY:
    case LT_OP_SCALE_ADD:
    case LT_OP_GATE_ADD:
        return 2 * elements;
    case LT_OP_SUM_PARTS:
        return elements * (double)(op->in[0].dim[0] - 1);
    case LT_OP_SNAKE_AA: /* two samples of 6 taps, twelve taps down, two sines */
        return 2 * elements * (12 + 12 + 4);
    default: /* norms, rotations, activations */
        return 4 * elements;
    }
}
