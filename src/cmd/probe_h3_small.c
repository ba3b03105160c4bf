/* probe_h3_small.c - H3's stages of probe that compute no network. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "cmd/probe_h3.h"
#include "model/h3/h3.h"
#include "scheduler/sigmas.h"

enum { TEXT_BYTES_MAX = 256 << 20 };

/* \n, \t, \r and \\ in place; returns the new length, or -1 for another escape. */
static int64_t unescape(char *line, size_t bytes)
{
    size_t to = 0;
    for (size_t i = 0; i < bytes; i++) {
        char c = line[i];
        if (c == '\\') {
            if (++i == bytes)
                return -1;
            switch (line[i]) {
            case 'n':
                c = '\n';
                break;
            case 't':
                c = '\t';
                break;
            case 'r':
                c = '\r';
                break;
            case '\\':
                break;
            default:
                return -1;
            }
        }
        line[to++] = c;
    }
    return (int64_t)to;
}

static lt_status tokenize_line(lt_probe *p, char *line, size_t bytes, int64_t number)
{
    const int64_t length = unescape(line, bytes);
    if (length < 0)
        LT_FAIL(LT_EDATA, "%s:%lld: want \\n, \\t, \\r or \\\\ after a backslash",
                p->job->text_file, (long long)number);
    int32_t *ids = NULL;
    int64_t count = 0;
    if (lt_bpe_encode(((const lt_h3_model *)p->model)->bpe, line, (size_t)length, &ids, &count) !=
        LT_OK) {
        char text[512];
        (void)snprintf(text, sizeof text, "%s", lt_error_text());
        LT_FAIL(LT_EDATA, "%s:%lld: %s", p->job->text_file, (long long)number, text);
    }
    (void)fputc('[', p->answer.to);
    for (int64_t i = 0; i < count; i++)
        (void)fprintf(p->answer.to, i > 0 ? ", %d" : "%d", ids[i]);
    (void)fputs("]\n", p->answer.to);
    free(ids);
    return LT_OK;
}

lt_status lt_probe_h3_tokenize(lt_probe *p)
{
    char *text = NULL;
    size_t bytes = 0;
    if (p->job->text_file == NULL)
        LT_FAIL(LT_EUSAGE, "--text-file: probe tokenize wants a file with one text a line");
    lt_h3_model *m = (lt_h3_model *)p->model;
    LT_TRY(lt_h3_open_bpe(m));
    LT_TRY(lt_file_read(p->job->text_file, TEXT_BYTES_MAX, &text, &bytes));
    lt_status st = LT_OK;
    const double began = lt_seconds();
    int64_t number = 1;
    for (size_t at = 0; at < bytes && st == LT_OK; number++) {
        const char *end = memchr(text + at, '\n', bytes - at);
        const size_t length = end != NULL ? (size_t)(end - text) - at : bytes - at;
        st = tokenize_line(p, text + at, length, number);
        at += length + 1;
    }
    free(text);
    LT_TRY(st);
    lt_probe_time(p, lt_seconds() - began);
    return LT_OK;
}

static json_t *floats(const float *x, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        (void)json_array_append_new(list, json_real((double)x[i]));
    return list;
}

lt_status lt_probe_h3_sigmas(lt_probe *p)
{
    const int n = p->job->steps > 0 ? (int)p->job->steps : p->model->facts.steps;
    lt_h3_model *m = (lt_h3_model *)p->model;
    void *memory = NULL;
    LT_TRY(lt_probe_take(p, 4 * (size_t)n * sizeof(float), &memory));
    float *sigmas = memory, *times = sigmas + n, *audio_sigmas = times + n,
          *audio_times = audio_sigmas + n;
    LT_TRY(lt_h3_open_shifts(m));
    LT_TRY(lt_sigmas_shifted(n, m->video_shift, sigmas, times));
    LT_TRY(lt_sigmas_shifted(n, m->audio_shift, audio_sigmas, audio_times));
    json_t *answer = json_pack("{s:o, s:o, s:o, s:o}", "sigmas", floats(sigmas, n), "timesteps",
                               floats(times, n - 1), "audio_sigmas", floats(audio_sigmas, n),
                               "audio_timesteps", floats(audio_times, n - 1));
    /* 9 digits say an f32 exactly */
    char *text = answer != NULL ? lt_json_text(answer, JSON_REAL_PRECISION(9)) : NULL;
    json_decref(answer);
    if (text == NULL)
        LT_FAIL(LT_ENOMEM, "probe sigmas: no memory");
    (void)fprintf(p->answer.to, "%s\n", text);
    free(text);
    return LT_OK;
}

static lt_status copy_indices(lt_probe *p, const char *name, const int64_t *from, int64_t count)
{
    void *to = NULL;
    LT_TRY(lt_probe_make(p, name, LT_I64, LT_DIMS(count), &to));
    memcpy(to, from, (size_t)count * sizeof *from);
    return LT_OK;
}

lt_status lt_probe_h3_layout(lt_probe *p)
{
    lt_dims dims;
    void *ids = NULL, *positions = NULL;
    lt_h3_layout *l = NULL;
    const lt_job *job = p->job;
    if (job->frames == 0 || job->size[0] == 0)
        LT_FAIL(LT_EUSAGE, "probe layout wants --frames and --size");
    LT_TRY(lt_probe_read(p, "input_ids", 1, LT_I64, &dims, &ids));
    LT_TRY(lt_h3_layout_new(job->frames, job->size[0], job->size[1], dims.dim[0], &l));
    lt_status st = lt_probe_make(p, "position_ids", LT_F64, LT_DIMS(l->rows, 3), &positions);
    if (st == LT_OK) {
        memcpy(positions, l->position_ids, (size_t)(l->rows * 3) * sizeof(double));
        st = copy_indices(p, "token_tags", l->token_tags, l->rows);
    }
    if (st == LT_OK)
        st = copy_indices(p, "video_indices", l->video_indices, l->video_rows);
    if (st == LT_OK)
        st = copy_indices(p, "audio_indices", l->audio_indices, l->audio_rows);
    if (st == LT_OK)
        st = copy_indices(p, "text_indices", l->text_indices, l->text_rows);
    lt_h3_layout_free(&l);
    LT_TRY(st);
    return LT_OK;
}
