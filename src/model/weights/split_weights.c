/* split_weights.c - split linear layers out of a checkpoint. */
#include "model/weights/split_weights.h"

#include <assert.h>
#include <stdio.h>

enum { NAME_BYTES = 512 };

static lt_status check(lt_weights *weights, const char *name, int64_t out, int64_t in, int bias)
{
    char full[NAME_BYTES];
    lt_checkpoint *checkpoint = lt_weights_checkpoint(weights);
    (void)snprintf(full, sizeof full, "%s.weight", name);
    LT_TRY(lt_checkpoint_load(checkpoint, full, LT_DIMS(out, in)));
    if (!bias)
        return LT_OK;
    (void)snprintf(full, sizeof full, "%s.bias", name);
    return lt_checkpoint_load(checkpoint, full, LT_DIMS(out));
}

/* A layer for each of my chunks of each part. */
static lt_status load_chunks(lt_weights *weights, const lt_column_part *parts, int count,
                             int64_t in, lt_column_linear *layer)
{
    for (int i = 0; i < count; i++)
        for (int chunk = 0; chunk < LT_CHUNKS; chunk++) {
            const lt_range mine = parts[i].split->partition.chunks;
            const lt_range rows = lt_partition_chunk(&parts[i].split->partition, chunk);
            if (chunk < mine.first || chunk >= mine.first + mine.count || rows.count == 0)
                continue;
            lt_layer_spec spec = lt_layer_whole(weights, parts[i].out, in, 0);
            spec.rows[0] = (lt_range){parts[i].first_row + rows.first, rows.count};
            LT_TRY(lt_weights_linear(weights, parts[i].name, &spec, &layer->chunk[i][chunk]));
        }
    return LT_OK;
}

lt_status lt_column_linear_load(lt_weights *weights, const lt_column_part *parts, int count,
                                int64_t in, int bias, lt_column_linear *layer)
{
    const char *names[LT_SPLIT_PARTS];
    lt_layer_spec specs[LT_SPLIT_PARTS];
    int64_t columns = 0;
    assert(count > 0 && count <= LT_SPLIT_PARTS && !(bias && parts[0].split->ordered));
    *layer = (lt_column_linear){.count = count};
    for (int i = 0; i < count; i++) {
        const lt_split *split = parts[i].split;
        assert(parts[i].first_row + split->partition.total * split->partition.unit <= parts[i].out);
        LT_TRY(check(weights, parts[i].name, parts[i].out, in, bias));
        layer->split[i] = *split;
        names[i] = parts[i].name;
        specs[i] = lt_layer_whole(weights, parts[i].out, in, bias);
        specs[i].rows[0] =
            (lt_range){parts[i].first_row + split->columns.first, split->columns.count};
        columns += split->columns.count;
    }
    if (parts[0].split->ordered)
        return load_chunks(weights, parts, count, in, layer);
    if (columns == 0)
        return LT_OK;
    return lt_weights_linear_joined(weights, names, specs, count, &layer->joined);
}

lt_status lt_row_linear_load(lt_weights *weights, const char *name, int64_t out,
                             const lt_split *split, int bias, lt_row_linear *layer)
{
    const int64_t in = split->partition.total * split->partition.unit;
    const int adds_bias = bias && (split->group == NULL || lt_group_rank(split->group) == 0);
    const lt_range chunks = split->partition.chunks;
    lt_range cut[LT_CHUNKS] = {split->columns};
    lt_linear *layers[LT_CHUNKS] = {NULL};
    const int count = split->ordered ? (int)chunks.count : 1;
    assert(!(bias && split->ordered));
    *layer = (lt_row_linear){.split = *split, .out = out};
    lt_layer_spec spec = lt_layer_whole(weights, out, in, adds_bias);
    spec.bias_none = bias && !adds_bias;
    spec.columns = split->columns;
    for (int i = 0; i < count && split->ordered; i++)
        cut[i] = lt_partition_chunk(&split->partition, (int)chunks.first + i);
    LT_TRY(lt_weights_linear_columns(weights, name, &spec, cut, count, layers));
    layer->mine = split->ordered ? NULL : layers[0];
    for (int i = 0; i < count && split->ordered; i++)
        layer->chunk[chunks.first + i] = layers[i];
    return LT_OK;
}
