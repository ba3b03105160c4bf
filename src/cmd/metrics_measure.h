/* metrics_measure.h - a film file and where its joins are; its figures.
 * Local, Blocking. Tested: tests/film/test_metrics.c. */
#ifndef LT_METRICS_MEASURE_H
#define LT_METRICS_MEASURE_H

#include "media/film_read.h"
#include "media/spectrum.h"
#include "metrics/audio_jumps.h"
#include "metrics/drift.h"
#include "metrics/onsets.h"
#include "metrics/seams.h"
#include "metrics/video_series.h"

enum {
    LT_METRICS_JOINS_MAX = 86400,
    LT_METRICS_BORDERS_MAX = 4096,
    LT_METRICS_PICKS_MAX = 24, /* small frames that a report shows */
    LT_METRICS_DRIFTS = LT_SERIES_SHARPNESS - LT_SERIES_LUMA_MEAN + 1
};

/* Where two windows meet, and what kind of place that is. */
typedef enum lt_join_kind { LT_JOIN, LT_JOIN_OVERLAP } lt_join_kind;

/* What is asked. Lists are borrowed, ascending, each value once. */
typedef struct lt_metrics_ask {
    const char *film;
    const int64_t *joins; /* frames; those past the film's end are an error */
    const lt_join_kind *kinds;
    size_t join_count;
    int64_t period;      /* of the decoder, frames; 1: none */
    const int64_t *cuts; /* first frames of shots; those past the film's end are an error */
    size_t cut_count;
    const int64_t *columns, *rows; /* tile borders, pixels */
    size_t column_count, row_count;
    int64_t cell; /* pixels of a place that encoder and decoder repeat: LT_SEAM_CODEC_BLOCK .. */
    int picks;    /* 1: keep small frames for a report */
    void (*frame)(int64_t frame); /* called for each; NULL: nothing */
} lt_metrics_ask;

/* Figures of a join; NaN where there is none. */
typedef struct lt_join_figures {
    int64_t frame;
    lt_join_kind kind;
    double step_ratio, step_share, acceleration_ratio, psnr_db, flow_jump;
    lt_audio_jump audio;
    int64_t compared;
    int same_phase;
    int step_over, level_over; /* above the budget */
    int stands_out;            /* in what is above it: hardly a place elsewhere is as bad */
} lt_join_figures;

typedef struct lt_metrics {
    lt_film_facts facts; /* its texts are FFmpeg's own and stay */
    int64_t frames, samples, period;
    lt_join_figures *joins;
    size_t join_count, cut_count, over_count, outstanding_count;
    /* Medians and largest over joins of kind LT_JOIN, else over all. */
    double step_ratio, step_ratio_max, acceleration_ratio, acceleration_ratio_max, psnr_db,
        flow_jump, level_jump_db, level_jump_db_max, spectrum_jump_max;
    double motion, freeze_share, histogram_chi2;
    double column_ratio, column_ratio_max, row_ratio, row_ratio_max;
    lt_loop step_loop, frame_loop;
    lt_drift drift[LT_METRICS_DRIFTS]; /* of LT_SERIES_LUMA_MEAN and on */
    lt_onset_offset onset;
    /* What plots are made of. */
    lt_video_series *video;
    lt_spectrum *spectrum;               /* NULL: no audio */
    double *e;                           /* [frames]: steps by their neighbourhood */
    uint8_t *pick[LT_METRICS_PICKS_MAX]; /* planar RGB */
    int pick_count, pick_width, pick_height;
    int64_t pick_stride; /* pick i is frame i * stride */
} lt_metrics;

/* Errors: those of lt_film_*; LT_EUSAGE naming a join or border that the film does not have;
 * LT_ENOMEM. out may be freed after an error too. */
lt_status lt_metrics_measure(const lt_metrics_ask *ask, lt_metrics *out);
void lt_metrics_free(lt_metrics *metrics);

/* The audio as the metrics want it; blocks 0 without audio. Borrowed. */
lt_audio_series lt_metrics_audio(const lt_metrics *metrics);

/* Are the film's seams over its budget: the median step of its joins, their median level jump, the
 * worst tile border? */
int lt_metrics_step_over(const lt_metrics *metrics);
int lt_metrics_level_over(const lt_metrics *metrics);
int lt_metrics_tiles_over(const lt_metrics *metrics);

/* Does the onsets' offset say anything? */
int lt_metrics_onset_says(const lt_metrics *metrics);

/* The sample at which a frame is shown. */
double lt_metrics_sample(const lt_metrics *metrics, int64_t frame);

#endif
