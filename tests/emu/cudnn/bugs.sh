#!/bin/sh
# bugs.sh - cudnn.c and attention_cudnn.c once a bug: the files with one thing wrong, and names of their own.
#
# test_cudnn.c says which case has to find it. A change that finds nothing to change ends the build, so that a bug does
# not vanish when the source moves.
#   bugs.sh SOURCES FOLDER     makes FOLDER/bug_NAME_{cudnn,attention_cudnn}.c for each line below, and FOLDER/dnn_bugs.inc
set -eu
sources=$1
folder=$2
mkdir -p "$folder"
: > "$folder/dnn_bugs.inc"
names='lt_dnn_open lt_dnn_try lt_dnn_shape_equal lt_dnn_shape_text lt_dnn_plan_new lt_dnn_plan_free lt_dnn_plan_run
lt_cuda_expect lt_cuda_dnn_close lt_cuda_dnn_found'

bug() { # NAME EXPRESSION...
    name=$1
    shift
    for e in "$@"; do printf '%s\n' "$e"; done > "$folder/expressions"
    changed=0
    for file in cudnn attention_cudnn; do
        {
            for n in $names; do printf '#define %s %s_%s\n' "$n" "$n" "$name"; done
            sed -f "$folder/expressions" "$sources/$file.c"
        } > "$folder/bug_${name}_$file.c"
        sed "1,$(printf '%s\n' $names | wc -l)d" "$folder/bug_${name}_$file.c" | cmp -s - "$sources/$file.c" || changed=1
    done
    if [ $changed = 0 ]; then
        echo "bugs.sh: $name changes nothing in $sources" >&2
        exit 1
    fi
    printf 'BUG(%s)\n' "$name" >> "$folder/dnn_bugs.inc"
}

# The same of attention.cu, for its merge.
merge_bug() { # NAME EXPRESSION
    {
        for n in lt_cuda_attention lt_cuda_attention_own lt_cuda_attention_merge; do printf '#define %s %s_%s\n' $n $n "$1"; done
        sed "$2" "$sources/attention.cu"
    } > "$folder/bug_$1.cu"
    if sed 1,3d "$folder/bug_$1.cu" | cmp -s - "$sources/attention.cu"; then
        echo "bugs.sh: $1 changes nothing in $sources/attention.cu" >&2
        exit 1
    fi
}

merge_bug merge_of_floats 's/^    const merge_op f = {view_of(&op->in\[0\]),/    lt_tensor wrong = op->in[0]; wrong.dtype = LT_F32; const merge_op f = {view_of(\&wrong),/'
# A plan serves shapes that differ in strides alone.
bug key_without_strides 's/ && a->q_stride == b->q_stride &&$/ \&\&/' \
    's/a->k_stride == b->k_stride && a->v_stride == b->v_stride && a->y_stride == b->y_stride &&/1 \&\&/'
bug key_without_lse 's/a->dtype == b->dtype && a->has_lse == b->has_lse;/a->dtype == b->dtype;/'
# The operation is not told of lse.
bug lse_unset 's/if (specs\[i\].id == ID_STATS && !s->has_lse)/if (specs[i].id == ID_STATS)/'
bug lse_left_out 's/const int64_t count = plan->shape.has_lse ? 6 : 5;/const int64_t count = 5;/'
# As the heuristics propose it.
bug stream_k 's/^    if (m->out->has_stream_k)$/    if (0)/'
bug knobs_lost 's/if (type != LT_DNN_KNOB_STREAM_K)/if (0)/'
bug knob_twice 's/if (type != LT_DNN_KNOB_STREAM_K)/if (1)/'
bug any_engine 's/    if (nondeterministic) {/    if (0) {/'
bug any_workspace 's/if (bytes < 0 || bytes > LT_DNN_WORKSPACE) {/if (0) {/' \
    's/assert(plan->workspace_bytes <= q->workspace_bytes);/(void)q;/'
bug no_workspace 's/lse->data : NULL, op->a, q->workspace);/lse->data : NULL, op->a, NULL);/'
# Heads of k and v as many as q's.
bug heads 's/{ID_K, s->kv_heads,/{ID_K, s->heads,/' 's/{ID_V, s->kv_heads,/{ID_V, s->heads,/'
bug q_rows 's/{ID_Q, s->heads, s->queries, w, w, s->q_stride, type, false}/{ID_Q, s->heads, s->queries, w, w, w, type, false}/'
# The handle is left on its own stream.
bug stream_unset 's/if (dnn.stream != q->stream)/if (0)/'
bug any_version 's/if (api.version() < LT_DNN_VERSION_LEAST)/if (0)/'
bug any_cuda 's/!= cuda_major) {/< 0) {/'
# The comparison at open.
bug unchecked 's/^    LT_TRY(run((lt_cuda_queue \*)queue, plan, &t.op));$/    return LT_OK;/'
bug lse_unchecked 's/s->has_lse && i < s->heads \* rows.count/i < 0/'
bug nan_passes 's/if (!(fabs(found - want) <= y_tol \* t->most))/if (fabs(found - want) > y_tol * t->most)/'
bug nan_lse_passes 's/if (!(fabs((double)lse\[i\] - (double)own_lse\[i\]) <= lse_tol))/if (fabs((double)lse[i] - (double)own_lse[i]) > lse_tol)/'
bug first_rows_only 's/= {s->queries - n, 0, (s->queries - n) \/ 2};/= {0, 0, 0};/' 's/EDGE = 128,/EDGE = 8,/'
# What is not in the list is ours, and nobody hears of it.
bug unlisted_passes 's/^    if (plan == NULL)$/    if (plan == NULL) return (void)text, LT_OK; if (0)/'
