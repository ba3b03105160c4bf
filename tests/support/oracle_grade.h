/* oracle_grade.h - what a scheduler makes of the oracle's data, without sampling.
 *
 * A whole run of any scheduler is a linear map M from noise to data. Latents [81 frames, 162
 * columns] carry one column a noise value, so the loop itself works M out; M M' is the covariance
 * of what would be rendered. Columns 0..80 are noise; 81..161 a true clip's root, for `refine`.
 * Figures: spec/long-video.md 11. */
#ifndef LT_TEST_ORACLE_GRADE_H
#define LT_TEST_ORACLE_GRADE_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/oracle.h"

enum { ORACLE_FRAMES = 81, ORACLE_COLUMNS = 2 * ORACLE_FRAMES };

/* W2^2 a frame, the largest step energy over the data's, the least variance, mean correlation at
 * lags 10, 30, 60. -1 as a wanted one: any. */
typedef struct {
    double w2, step, var, c10, c30, c60;
} oracle_figures;

/* Lower l, s = l l', of the data's covariance. */
static inline void oracle_root(double (*l)[ORACLE_FRAMES])
{
    memset(l, 0, sizeof(double[ORACLE_FRAMES][ORACLE_FRAMES]));
    for (int i = 0; i < ORACLE_FRAMES; i++)
        for (int j = 0; j <= i; j++) {
            double sum = lt_oracle_covariance(i, j);
            for (int k = 0; k < j; k++)
                sum -= l[i][k] * l[j][k];
            l[i][j] = i == j ? sqrt(sum) : sum / l[j][j];
        }
}

/* Noise of variance 1, a column for each frame's. x [frames, columns]. */
static inline void oracle_begin(float *x)
{
    memset(x, 0, (size_t)ORACLE_FRAMES * ORACLE_COLUMNS * sizeof *x);
    for (int i = 0; i < ORACLE_FRAMES; i++)
        x[i * ORACLE_COLUMNS + i] = 1.0f;
}

/* A clip of the data's own statistics. */
static inline void oracle_true_clip(float *x)
{
    static double root[ORACLE_FRAMES][ORACLE_FRAMES];
    oracle_root(root);
    memset(x, 0, (size_t)ORACLE_FRAMES * ORACLE_COLUMNS * sizeof *x);
    for (int i = 0; i < ORACLE_FRAMES; i++)
        for (int j = 0; j <= i; j++)
            x[i * ORACLE_COLUMNS + ORACLE_FRAMES + j] = (float)root[i][j];
}

static inline double oracle_covariance_of(const float *x, int i, int j)
{
    double sum = 0;
    for (int c = 0; c < ORACLE_COLUMNS; c++)
        sum += (double)x[i * ORACLE_COLUMNS + c] * (double)x[j * ORACLE_COLUMNS + c];
    return sum;
}

static inline double oracle_correlation(const float *x, int lag)
{
    double sum = 0;
    for (int i = 0; i + lag < ORACLE_FRAMES; i++)
        sum += oracle_covariance_of(x, i, i + lag) /
               sqrt(oracle_covariance_of(x, i, i) * oracle_covariance_of(x, i + lag, i + lag));
    return sum / (ORACLE_FRAMES - lag);
}

/* Sum of the singular values of m: one-sided Jacobi rotations of pairs of rows until all are
 * orthogonal. m is used up. */
static inline double oracle_nuclear_norm(double (*m)[ORACLE_COLUMNS])
{
    for (int sweep = 0, turned = 1; turned && sweep < 60; sweep++) {
        turned = 0;
        for (int i = 0; i < ORACLE_FRAMES; i++)
            for (int j = i + 1; j < ORACLE_FRAMES; j++) {
                double a = 0, b = 0, c = 0;
                for (int k = 0; k < ORACLE_COLUMNS; k++) {
                    a += m[i][k] * m[i][k];
                    b += m[j][k] * m[j][k];
                    c += m[i][k] * m[j][k];
                }
                if (c * c <= 1e-20 * a * b)
                    continue;
                turned = 1;
                const double zeta = (b - a) / (2.0 * c);
                const double t = (zeta >= 0 ? 1.0 : -1.0) / (fabs(zeta) + sqrt(1.0 + zeta * zeta));
                const double cosine = 1.0 / sqrt(1.0 + t * t), sine = cosine * t;
                for (int k = 0; k < ORACLE_COLUMNS; k++) {
                    const double p = m[i][k], q = m[j][k];
                    m[i][k] = cosine * p - sine * q;
                    m[j][k] = sine * p + cosine * q;
                }
            }
    }
    double sum = 0;
    for (int i = 0; i < ORACLE_FRAMES; i++) {
        double square = 0;
        for (int k = 0; k < ORACLE_COLUMNS; k++)
            square += m[i][k] * m[i][k];
        sum += sqrt(square);
    }
    return sum;
}

/* W2^2 of the Gaussians N(0, C) and N(0, S), C = M M', S = R R': tr C + tr S - 2 |R' M|_nuclear. */
static inline double oracle_wasserstein(const float *x)
{
    static double root[ORACLE_FRAMES][ORACLE_FRAMES], product[ORACLE_FRAMES][ORACLE_COLUMNS];
    double trace = 0;
    oracle_root(root);
    for (int i = 0; i < ORACLE_FRAMES; i++) {
        trace += oracle_covariance_of(x, i, i) + lt_oracle_covariance(i, i);
        for (int c = 0; c < ORACLE_COLUMNS; c++) {
            product[i][c] = 0;
            for (int k = i; k < ORACLE_FRAMES; k++)
                product[i][c] += root[k][i] * (double)x[k * ORACLE_COLUMNS + c];
        }
    }
    return (trace - 2.0 * oracle_nuclear_norm(product)) / ORACLE_FRAMES;
}

/* x [frames, columns]: what the loop made of oracle_begin's noise. */
static inline oracle_figures oracle_grade(const float *x)
{
    oracle_figures f = {.w2 = oracle_wasserstein(x),
                        .var = 1e9,
                        .c10 = oracle_correlation(x, 10),
                        .c30 = oracle_correlation(x, 30),
                        .c60 = oracle_correlation(x, 60)};
    const double still = 2.0 * (lt_oracle_covariance(0, 0) - lt_oracle_covariance(0, 1));
    for (int i = 0; i < ORACLE_FRAMES; i++) {
        const double var = oracle_covariance_of(x, i, i);
        f.var = var < f.var ? var : f.var;
        if (i == 0)
            continue;
        const double step = (var + oracle_covariance_of(x, i - 1, i - 1) -
                             2.0 * oracle_covariance_of(x, i, i - 1)) /
                            still;
        f.step = step > f.step ? step : f.step;
    }
    return f;
}

/* 2 %, or of a correlation, which the specification prints with two digits, half of the last. */
static inline int oracle_off(double found, double wanted, double least)
{
    const double share = 0.02 * wanted, most = share > least ? share : least;
    return wanted >= 0 && !(fabs(found - wanted) <= most);
}

/* 1 if a figure is off; prints the row. */
static inline int oracle_is_off(const char *name, const oracle_figures *f, const oracle_figures *w)
{
    const int bad = oracle_off(f->w2, w->w2, 0) || oracle_off(f->step, w->step, 0) ||
                    oracle_off(f->var, w->var, 0) || oracle_off(f->c10, w->c10, .005) ||
                    oracle_off(f->c30, w->c30, .005) || oracle_off(f->c60, w->c60, .005);
    fprintf(stderr, "%s%-18s W2 %.5f step %.3f var %.3f c %.3f %.3f %.3f\n", bad ? "WRONG " : "",
            name, f->w2, f->step, f->var, f->c10, f->c30, f->c60);
    return bad;
}

#endif
