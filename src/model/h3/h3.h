/* h3.h - an opened MiniMax-H3 folder, part by part.
 * For h3.c (films) and probe (single stages, which need only their own part). Local,
 * Blocking. */
#ifndef LT_H3_FAMILY_H
#define LT_H3_FAMILY_H

#include "model/family.h"
#include "model/files/checkpoint.h"
#include "model/h3/audio_vae.h"
#include "model/h3/dit.h"
#include "model/h3/video_vae.h"
#include "model/text/bpe.h"
#include "model/text/qwen3vl.h"

typedef struct lt_h3_model {
    lt_model base;
    int original; /* the original layout's folders and names */
    double video_shift, audio_shift;
    lt_bpe *bpe;
    lt_qwen3vl_config text;
    lt_h3_dit_config dit_config;
    lt_h3_video_config video;
    lt_h3_audio_config audio;
    lt_checkpoint *text_files, *dit_files, *video_files, *audio_files;
    /* while a part is loaded: whose engine, and where phase stood */
    lt_engine *dit_engine, *decode_engine;
    lt_mark dit_mark, decode_mark;
    lt_h3_dit *dit;
    const void *given; /* tables for the next dit_open, borrowed; NULL: it makes them */
    size_t given_bytes;
    lt_qwen3vl *text_encoder;
    lt_h3_video_decoder *video_decoder;
    lt_h3_audio_decoder *audio_decoder;
} lt_h3_model;

extern const lt_family lt_family_h3;

/* A model with nothing opened but longtake.json. lt_model_close closes it. */
lt_status lt_h3_model_new(const char *path, lt_h3_model **out);
/* Does the folder look like this family's? Local. */
int lt_h3_recognise(const char *path);
/* Read and check one part's config and tensor headers; nothing if it was done. Errors: LT_ENOINPUT,
 * LT_EDATA. */
lt_status lt_h3_open_shifts(lt_h3_model *model);
lt_status lt_h3_open_bpe(lt_h3_model *model);
lt_status lt_h3_open_text(lt_h3_model *model);
lt_status lt_h3_open_dit(lt_h3_model *model);
lt_status lt_h3_open_video(lt_h3_model *model);
lt_status lt_h3_open_audio(lt_h3_model *model);
/* Before a part is opened: are the weights of all of them there, and a tokenizer? Errors:
 * LT_ENOINPUT, LT_EDATA, naming all that is missing at once. */
lt_status lt_h3_check_whole(const lt_h3_model *model);
/* All parts are open: do they belong together, and to the family's grid? Errors: LT_EDATA. */
lt_status lt_h3_check_parts(const lt_h3_model *model);

#endif
