/* attention.c - the reference's softmax attention and merge of partial results.
 * One query of one head at a time: logits, their maximum, weights, their sum, the mean of v, all in
 * f64; y is rounded once, at the end. */
#include <stdlib.h>

#include "kernels/ref/ref.h"
#include "kernels/ref/values.h"

/* The weights e^(logit - max) of `keys` keys into p; returns the log of the sum of e^logit. */
static double weights_of(const lt_op *op, int64_t query, int64_t head, int64_t keys, int64_t width,
                         double *p)
{
    const lt_tensor *q = &op->in[0], *k = &op->in[1];
    const int64_t kv_head = head / (op->heads / op->kv_heads);
    const void *q_row = lt_ref_row(q, query);
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < keys; j++) {
        const void *k_row = lt_ref_row(k, j);
        double dot = 0;
        for (int64_t d = 0; d < width; d++)
            dot += (double)lt_ref_load(q_row, q->dtype, head * width + d) *
                   (double)lt_ref_load(k_row, k->dtype, kv_head * width + d);
        p[j] = (double)op->a * dot;
        if (!(p[j] <= most))
            most = p[j];
    }
    for (int64_t j = 0; j < keys; j++) {
        p[j] = exp(p[j] - most);
        sum += p[j];
    }
    for (int64_t j = 0; j < keys; j++)
        p[j] /= sum;
    return most + log(sum);
}

/* scratch: keys + width doubles. */
static void attend(const lt_op *op, int64_t query, int64_t head, int64_t width, double *scratch)
{
    const lt_tensor *v = &op->in[2], *y = &op->out[0], *lse = &op->out[1];
    const int64_t kv_head = head / (op->heads / op->kv_heads);
    int64_t keys = lt_row_count(&op->in[1]);
    double *p = scratch, *mean = scratch + keys;
    if (op->causal && query + op->q_first + 1 < keys)
        keys = query + op->q_first + 1;
    if (keys < 0)
        keys = 0;
    const double log_sum = keys == 0 ? -INFINITY : weights_of(op, query, head, keys, width, p);
    for (int64_t d = 0; d < width; d++)
        mean[d] = 0;
    for (int64_t j = 0; j < keys; j++) {
        const void *v_row = lt_ref_row(v, j);
        for (int64_t d = 0; d < width; d++)
            mean[d] += p[j] * (double)lt_ref_load(v_row, v->dtype, kv_head * width + d);
    }
    for (int64_t d = 0; d < width; d++)
        lt_ref_put(y, query, head * width + d, (float)mean[d]);
    if (lse->ndim != 0)
        lt_ref_put(lse, head, query, (float)log_sum);
}

lt_status lt_ref_attention(const lt_op *op)
{
    assert(op->heads > 0 && op->kv_heads > 0 && op->heads % op->kv_heads == 0);
    const int64_t queries = lt_row_count(&op->in[0]), keys = lt_row_count(&op->in[1]);
    const int64_t width = lt_row_width(&op->in[0]) / op->heads;
    double *scratch = malloc((size_t)(keys + width + 1) * sizeof *scratch);
    if (scratch == NULL)
        LT_FAIL(LT_ENOMEM, "attention: no memory for the weights of %lld keys", (long long)keys);
    for (int64_t h = 0; h < op->heads; h++)
        for (int64_t i = 0; i < queries; i++)
            attend(op, i, h, width, scratch);
    free(scratch);
    return LT_OK;
}

lt_status lt_ref_attention_merge(const lt_op *op)
{
    const lt_tensor *y2 = &op->in[0], *lse2 = &op->in[1], *y = &op->out[0], *lse = &op->out[1];
    assert(op->heads > 0);
    const int64_t width = lt_row_width(y) / op->heads;
    for (int64_t h = 0; h < op->heads; h++)
        for (int64_t i = 0; i < lt_row_count(y); i++) {
            const double l1 = lt_ref_get(lse, h, i), l2 = lt_ref_get(lse2, h, i);
            if (l2 == -INFINITY)
                continue; /* the merge's identity, also where neither has seen a key */
            const double most = l1 > l2 ? l1 : l2;
            const double w1 = exp(l1 - most), w2 = exp(l2 - most);
            for (int64_t d = h * width; d < (h + 1) * width; d++) {
                const double a = lt_ref_get(y, i, d), b = lt_ref_get(y2, i, d);
                lt_ref_put(y, i, d, (float)((w1 * a + w2 * b) / (w1 + w2)));
            }
            lt_ref_put(lse, h, i, (float)(most + log(w1 + w2)));
        }
    return LT_OK;
}
