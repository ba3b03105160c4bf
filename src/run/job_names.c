/* job_names.c - what other programs call our options, and what comes later.
 * Other programs' names: diffusers' pipelines, ComfyUI, Wan's generate.py, MiniMax's own script,
 * FFmpeg. Later ones: DESIGN section 8. */
#include "run/job.h"

#define LENGTH   "--frames N or --seconds S gives the length"
#define SIZE     "--size WxH gives width and height, e.g. --size 1344x768"
#define STEPS    "--steps N gives the noise levels: N - 1 evaluations"
#define QUALITY  "--crf N gives the codec's quality, --preset WORD its effort"
#define GUIDANCE "MiniMax-H3 runs without guidance: there is no scale to give"
#define RANKS    "mpirun -n N longtake ... starts N ranks; --threads N is for each of them"
#define RESUME                                                                                     \
    "`longtake decode RUN -o FILE` makes the film where RUN/latents.h5 is there; before that, "    \
    "the "                                                                                         \
    "same command begins again"
#define LONG   "this version goes on from no film; `shots:` of a job file are several prompts"
#define IMAGES "this version renders from text alone"

const lt_option_other lt_job_others[] = {
    {"-m", "--model DIR names the model", 0},
    {"-s", "--size, --steps, --seed and --seconds have no short form", 0},
    {"-n", "--frames, --steps and mpirun's -n are meant by it elsewhere: want one of them", 0},
    {"-f", "--frames N gives the length, --overwrite renders into a folder that holds a run", 0},
    {"-y", "--overwrite renders into a folder that holds a run", 0},
    {"-t", "--seconds S gives the length, --threads N the threads of a rank", 0},
    {"-i", IMAGES, 0},
    {"-r", "the model's pictures a second are fixed (H3: 24); --run DIR names the run folder", 0},
    {"-c", "--codec NAME names the codec", 0},
    {"-j", "--threads N gives the threads of a rank", 0},
    {"-l", LENGTH, 0},
    {"-w", SIZE, 0},
    {"num-frames", LENGTH, 0},
    {"frame-num", LENGTH, 0},
    {"frame-count", LENGTH, 0},
    {"video-length", LENGTH, 0},
    {"length", LENGTH, 0},
    {"duration", LENGTH, 0},
    {"width", SIZE, 0},
    {"height", SIZE, 0},
    {"resolution", SIZE, 0},
    {"video-size", SIZE, 0},
    {"fps", "the model's pictures a second are fixed (H3: 24); " LENGTH, 0},
    {"frame-rate", "the model's pictures a second are fixed (H3: 24); " LENGTH, 0},
    {"num-inference-steps", STEPS, 0},
    {"inference-steps", STEPS, 0},
    {"infer-steps", STEPS, 0},
    {"sample-steps", STEPS, 0},
    {"sampling-steps", STEPS, 0},
    {"base-seed", "--seed N, or --seed random", 0},
    {"cfg", GUIDANCE, 0},
    {"cfg-scale", GUIDANCE, 0},
    {"guidance", GUIDANCE, 0},
    {"guidance-scale", GUIDANCE, 0},
    {"sample-guide-scale", GUIDANCE, 0},
    {"text", "-p TEXT gives the prompt", 0},
    {"prompt-file", "a job file holds a long prompt: `prompt: |`, then indented lines", 0},
    {"checkpoint", "--model DIR names the model", 0},
    {"ckpt", "--model DIR names the model", 0},
    {"ckpt-dir", "--model DIR names the model", 0},
    {"model-path", "--model DIR names the model", 0},
    {"model-dir", "--model DIR names the model", 0},
    {"model-id", "--model DIR names the folder of a model that was downloaded", 0},
    {"out", "-o FILE names the film", 0},
    {"outfile", "-o FILE names the film", 0},
    {"output-file", "-o FILE names the film", 0},
    {"output-path", "-o FILE names the film", 0},
    {"save-file", "-o FILE names the film", 0},
    {"save-path", "-o FILE names the film", 0},
    {"output-dir", "--run DIR names the run folder, -o FILE the film", 0},
    {"run-dir", "--run DIR names the run folder", 0},
    {"force", "--overwrite renders into a folder that holds a run", 0},
    {"bitrate", QUALITY, 0},
    {"video-codec", "--codec NAME names the codec", 0},
    {"vcodec", "--codec NAME names the codec", 0},
    {"precision", "--dtype bf16|f32|auto", 0},
    {"torch-dtype", "--dtype bf16|f32|auto", 0},
    {"gpus", RANKS, 0},
    {"num-gpus", RANKS, 0},
    {"nproc-per-node", RANKS, 0},
    {"ulysses-size", "--mesh uly=N,ring=M,tp=K cuts the work", 0},
    {"ulysses-degree", "--mesh uly=N,ring=M,tp=K cuts the work", 0},
    {"ring-size", "--mesh uly=N,ring=M,tp=K cuts the work", 0},
    {"ring-degree", "--mesh uly=N,ring=M,tp=K cuts the work", 0},
    {"tensor-parallel-size", "--mesh uly=N,ring=M,tp=K cuts the work", 0},
    {"log-file", "--log FILE keeps what is said on stderr", 0},
    {"silent", "-q says nothing but errors", 0},
    {"debug", "-v says more, -vv still more", 0},

    {"extend", LONG, 1},
    {"keyframe", IMAGES, 1},
    {"keyframes", IMAGES, 1},
    {"image", IMAGES, 1},
    {"last-image", IMAGES, 1},
    {"first-frame", IMAGES, 1},
    {"last-frame", IMAGES, 1},
    {"reference", IMAGES, 1},
    {"audio-in", IMAGES, 1},
    {"negative-prompt", GUIDANCE, 1},
    {"lora", NULL, 1},
    {"quant", NULL, 1},
    {"quality", "--steps N and --size WxH decide time and quality; " QUALITY, 1},
    {"batch", "one job is one command", 1},
};
const size_t lt_job_other_count = sizeof lt_job_others / sizeof *lt_job_others;
