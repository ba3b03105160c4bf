/* test_words.c - what is asked for in words: job files, prompts, seeds, places, help.
 * Goal: what was read is what was meant, or is said; what a run keeps renders the same again from
 * any folder. Method: the program under sh. Ranks: 1, 2. Needs: models/demo, mpirun. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

#define DEMO LT_SOURCE_DIR "/models/demo"
#define TINY " --frames 5 --size 64x64 --steps 3 "

typedef struct row {
    const char *name, *script;
    int code;
    const char *said[5]; /* on stdout or stderr; "!x": not x */
} row;

static const row rows[] = {
    /* job files */
    {"a # that cuts the prompt",
     "echo 'prompt: A ball #1' > j; \"$0\" render j" TINY "-o a.mp4",
     0,
     {"j:1: prompt: read as \"A ball\"", "in quotes it is text", "longtake: prompt: A ball\n"}},
    {"one word that a # cuts",
     "echo 'prompt: Ball #1' > j; \"$0\" render j" TINY "-o a.mp4",
     0,
     {"read as \"Ball\""}},
    {"letters of two bytes before the #",
     "echo 'prompt: Ein Bällchen ünd #1' > j; \"$0\" render j" TINY "-o a.mp4",
     0,
     {"read as \"Ein Bällchen ünd\""}},
    {"in quotes it is text",
     "echo 'prompt: \"A ball #1\"' > j; \"$0\" render j" TINY "-o a.mp4",
     0,
     {"longtake: prompt: A ball #1\n", "!is a comment"}},
    {"a # inside a word",
     "echo 'prompt: A ball#1' > j; \"$0\" render j" TINY "-o a.mp4",
     0,
     {"longtake: prompt: A ball#1\n", "!is a comment"}},
    {"a comment behind a word of ours",
     "printf 'prompt: A ball.\\nmode: single # as ever\\n' > j; \"$0\" render j" TINY "-o a.mp4",
     0,
     {"!is a comment"}},
    {"a colon in a prompt",
     "echo 'prompt: He says: hello' > j; \"$0\" render j -o a.mp4",
     65,
     {"j:1:", "not YAML", "needs quotes: prompt: \"He says: hello\""}},
    {"a prompt that is an alias",
     "echo 'prompt: *wow* a ball' > j; \"$0\" render j -o a.mp4",
     65,
     {"j:1:", "needs quotes"}},
    {"a prompt in brackets",
     "echo 'prompt: [Shot 1]' > j; \"$0\" render j -o a.mp4",
     64,
     {"j:1: prompt: want a string", "needs quotes"}},
    {"a prompt by a flag is not told back",
     "\"$0\" render -p 'A ball.'" TINY "-o a.mp4",
     0,
     {"!longtake: prompt"}},
    {"a job from stdin",
     "echo 'prompt: A ball.' | \"$0\" render -" TINY "-o a.mp4",
     0,
     {"longtake: prompt: A ball.\n"}},
    {"a wrong job from stdin",
     "echo 'promt: A ball.' | \"$0\" render - -o a.mp4",
     64,
     {"stdin:1: promt: unknown job key", "prompt"}},
    {"nothing on stdin", "\"$0\" render - -o a.mp4 < /dev/null", 64, {"--prompt: want some text"}},
    {"a closed stdin", "\"$0\" render - -o a.mp4 <&-", 66, {"stdin"}},
    {"a job from stdin on two ranks",
     "echo 'prompt: A ball.' | mpirun --oversubscribe --bind-to none -n 2 \"$0\" render -" TINY
     "-o a.mp4",
     0,
     {"longtake: prompt: A ball.\n", "a.mp4"}},

    /* prompts of nothing */
    {"blanks",
     "\"$0\" render -p '  ' -o a.mp4",
     64,
     {"--prompt: want some text, found only blanks"}},
    {"U+00A0", "\"$0\" render -p \"$(printf '\\302\\240')\" -o a.mp4", 64, {"found only blanks"}},
    {"U+3000", "\"$0\" render -p \"$(printf '\\343\\200\\200 ')\" -o a.mp4", 64, {"only blanks"}},
    {"U+200B", "\"$0\" render -p \"$(printf '\\342\\200\\213')\" -o a.mp4", 64, {"only blanks"}},

    /* seeds */
    {"a random seed is told and kept",
     "\"$0\" render -p 'A ball.' --seed random" TINY "-o a.mp4 && n=$(sed -n 's/^seed: //p' "
     "a.run/job.yaml) && test \"$n\" -gt 0 && grep -c \"\\\"seed\\\": $n,\" a.run/plan.json "
     "a.run/manifest.json",
     0,
     {" was drawn\n", "plan.json:1", "manifest.json:1"}},
    {"a random seed on two ranks",
     "mpirun --oversubscribe --bind-to none -n 2 \"$0\" render -p 'A ball.' --seed random" TINY
     "-o a.mp4 && cp a.run/latents.h5 one.h5 && \"$0\" inspect a.run | grep -o 'seed [0-9]*' && "
     "mpirun --oversubscribe --bind-to none -n 2 \"$0\" render a.run/job.yaml -o b.mp4 && \"$0\" "
     "inspect b.run | grep -o 'seed [0-9]*' | tail -1 > s; \"$0\" inspect a.run | grep -c -f s",
     0,
     {" was drawn\n", "\n1\n"}},
    {"the largest seed",
     "\"$0\" render -q -p 'A ball.' --seed 18446744073709551615" TINY
     "-o a.mp4 && \"$0\" inspect a.run && "
     "\"$0\" decode a.run -q -o b.mp4 && \"$0\" render a.run/job.yaml -q -o c.mp4 && grep -h seed "
     "c.run/*.yaml c.run/plan.json",
     0,
     {"seed \"18446744073709551615\"", "seed: \"18446744073709551615\"",
      "\"seed\": \"18446744073709551615\""}},

    /* places */
    {"a relative model, decoded elsewhere",
     "cp -r " DEMO " m && \"$0\" render -q --model m -p 'A ball.'" TINY "-o a.mp4 && mkdir x && cd "
     "x && \"$0\" decode ../a.run -q -o b.mp4 && \"$0\" render ../a.run/job.yaml -q -o c.mp4 && "
     "grep -h model ../a.run/job.yaml ../a.run/plan.json",
     0,
     {"model: \"/", "\"model\": \"/", "b.mp4", "c.mp4"}},
    {"a relative model that is not there",
     "\"$0\" render --model m -p ball -o a.mp4",
     66,
     {"error: m: want a model folder"}},

    {"names that are not UTF-8",
     "f=$(printf 'a\\377b'); \"$0\" render -p 'A ball.'" TINY
     "--sheet \"$f.png\" --wav \"$f.wav\" --log "
     "\"$f.log\" --json -o \"$f.mp4\" && \"$0\" inspect \"$f.run\" && \"$0\" inspect --json "
     "\"$f.run\" > i "
     "&& \"$0\" decode \"$f.run\" -q -o \"$f.mkv\" > n && cmp n - <<E\n$f.mkv\nE\n ls \"$f.mp4\" "
     "\"$f.png\" \"$f.wav\" \"$f.log\" \"$f.run/latents.h5\" > /dev/null && grep -h "
     "'\"run\"\\|output' "
     "\"$f.run/plan.json\"",
     0,
     {"\"output\":\"file:a%FFb.mp4\"", "\"run\": \"file:a%FFb.run\"", "file:a%FFb.run: run"}},
    {"names that are not UTF-8, on two ranks",
     "f=$(printf 'a\\377b'); mpirun --oversubscribe --bind-to none -n 2 \"$0\" render -q -p 'A "
     "ball.'" TINY "-o \"$f.mp4\" && mpirun --oversubscribe --bind-to none -n 2 \"$0\" decode "
     "\"$f.run\" -q -o \"$f.mkv\" "
     "&& ls \"$f.mkv\" > /dev/null && echo well",
     0,
     {"well"}},
    {"a name that begins as a URI does",
     "\"$0\" render -q -p ball" TINY "--run file:x -o file:y.mp4 && "
     "\"$0\" decode file:x -q -o z.mkv && grep output file:x/plan.json && ls file:y.mp4",
     0,
     {"\"file:file%3Ay.mp4\"", "file:y.mp4\n"}},

    {"a run that was stopped says what to type",
     "\"$0\" render -p 'A ball.' --frames 22 --steps 5000 -o a.mp4 2> e & p=$!; until grep -q "
     "'\"done\":2,' a.run/events.ndjson 2> /dev/null; do kill -0 $p || break; sleep 0.05; done; "
     "kill "
     "-TERM $p; wait $p; echo rc $?; cat e >&2",
     0,
     {"rc 75\n", "stopped by SIGTERM", "`longtake render --resume "}},

    /* the encoder's knobs */
    {"quality and effort in the plan",
     "\"$0\" render -q -p 'A ball.' --crf 40 --preset veryfast" TINY "-o a.mp4 && grep -h "
     "'crf\\|preset' a.run/plan.json a.run/job.yaml",
     0,
     {"\"crf\": 40", "\"preset\": \"veryfast\"", "crf: 40", "preset: veryfast"}},
    {"a quality that the codec has not",
     "\"$0\" render -p ball --codec prores --crf 3 -o a.mov",
     64,
     {"--crf 3: prores has no such setting"}},
    {"a size off the grid",
     "\"$0\" render -p ball --size 1920x1080 -o a.mp4",
     64,
     {"want multiples of 32", "--size 1920x1056 or --size 1920x1088"}},
    {"a length that the model does not know",
     "\"$0\" render -p 'A ball.' --seconds 3 --steps 2 -o a.mp4",
     0,
     {"72 frames: rendered as 73", "22, 39, 56, 90 and 124", "--frames 56 or 90"}},
    {"a log file has all lines with their time",
     "\"$0\" render -v -p 'A zorp.'" TINY
     "--log l -o a.mp4 2> e && sed 's/^[0-9T:.Z-]* //' l | cmp - "
     "e && grep -c '^20..-..-..T..:..:..\\....Z longtake: warning' l && \"$0\" render --log l2 -p "
     "' ' -o "
     "b.mp4 2> e; grep -c 'Z longtake: error: --prompt' l2",
     0,
     {"2\n1\n"}},
    {"a log file that is there stays",
     "echo old > l; \"$0\" render -p ball" TINY "--log l -o a.mp4; test $? = 73 && cat l && \"$0\" "
     "render -q -p ball" TINY "--log l --overwrite -o a.mp4",
     0,
     {"old\n", "error: --log l: "}},
    {"a log of ours goes on, by the same words",
     "\"$0\" render -q -p ball" TINY
     "--log l --wav no/w.wav -o a.mp4; \"$0\" render -q -p ball" TINY
     "--log l --wav no/w.wav -o a.mp4; grep -c 'Z longtake: error: --wav no/w.wav' l",
     0,
     {"2\n"}},
    {"a log that nothing was said to goes on too",
     "\"$0\" probe sigmas -q --log l > o && \"$0\" probe sigmas -q --log l > o && wc -c < l",
     0,
     {"0\n", "!error"}},
    {"a log is none of the other files",
     "\"$0\" render -p ball" TINY "--log a.mp4 -o ./a.mp4 --overwrite; echo $?; ls",
     0,
     {"error: --log a.mp4: names the same place as -o ./a.mp4", "64\n", "!events"}},
    {"a prompt without -p",
     "\"$0\" render 'A red ball.' -o a.mp4",
     66,
     {"A red ball.: cannot be opened", "hint: -p TEXT gives the prompt"}},
    {"a flag's value as a word",
     "\"$0\" render -p ball -o a.mp4 --tags false",
     66,
     {"false: cannot be opened", "as in --tags=false"}},
    {"quotes that would not help",
     "printf 'prompt: A ball.\\nseconds: 1:30\\n' > j; \"$0\" render j -o a.mp4",
     64,
     {"j:2: seconds: want a number from 0.001 to 3600, found \"1:30\"", "!hint"}},
    {"quotes that are too many",
     "printf 'prompt: A ball.\\nframes: \"5\"\\n' > j; \"$0\" render j -o a.mp4",
     64,
     {"j:2: frames: want an integer", "hint: without the quotes"}},
    {"a quality that the codec does not have",
     "\"$0\" render -p ball -o a.mp4 --crf 52",
     64,
     {"--crf: h264 wants 1 to 51, found 52"}},
    {"what is printed makes no file",
     "\"$0\" probe sigmas --steps 5 --out s; echo $?; ls; \"$0\" probe sigmas --steps 5",
     0,
     {"error: --out: probe sigmas prints its answer", "64\n", "\"sigmas\": [1.0"}},
    {"evaluations are counted",
     "\"$0\" render -p 'A ball.'" TINY "-o a.mp4",
     0,
     {"denoise: 2/2 evaluations"}},
    {"a narrow terminal keeps the ETA",
     "printf '%s\\n' 'stty cols 40; \"$0\" render -p ball --frames 5 --size 64x64 --steps 300 -o "
     "a.mp4' > t; "
     "script -qec \"sh -c '. ./t' $0\" /dev/null | tr '\\r' '\\n' | sed 's/^.\\[K//' > o; "
     "grep -c 'denoise.*ETA' o > n; test $(cat n) -gt 0; echo $?; grep '^denoise' o | awk "
     "'length($0) > 39' | wc -l; rm -f t",
     0,
     {"0\n0\n"}},
    {"no help is wider than 80 columns",
     "for v in render decode stitch submit probe inspect metrics doctor bench; do \"$0\" $v "
     "--help; done > h; "
     "\"$0\" --help >> h; awk 'length($0) > 80 { print; n++ } END { print n + 0, (NR > 100) }' h",
     0,
     {"0 1\n"}},
    {"help says what 75 leaves", "\"$0\" --help", 0, {"75 stopped", "render --resume RUN"}},
    {"the model's own length, size and steps",
     "\"$0\" inspect " DEMO "; \"$0\" inspect --json " DEMO,
     0,
     {"--frames 90 (3.75 s) --size 128x128 --steps 21 (20 evaluations)", "[22, 39, 56, 90, 124]",
      "\"defaults\":{\"steps\":21,\"evaluations\":20,\"frames\":90,"}},
    {"help speaks once",
     "mpirun --oversubscribe -n 2 \"$0\" --help | grep -c '^Usage'; mpirun --oversubscribe -n 2 "
     "\"$0\" render --help | grep -c '^Usage'",
     0,
     {"1\n1\n"}},
    {"inspect and --version speak once",
     "mpirun --oversubscribe -n 2 \"$0\" inspect " DEMO " | grep -c complete; mpirun "
     "--oversubscribe -n 2 \"$0\" --version | grep -c longtake",
     0,
     {"1\n1\n"}},
    {"a wrong verb is refused once",
     "mpirun --oversubscribe -n 2 \"$0\" redner 2> e; grep -c 'unknown verb' e",
     0,
     {"1\n"}},
    {"an unknown verb that comes later", "\"$0\" serve", 69, {"serve", "comes later"}},
    {"a verb misspelled", "\"$0\" redner", 64, {"did you mean `longtake render`?"}},
};

/* In a folder of its own; in the script $0 is the program. */
static run_result sh(const char *script)
{
    char text[2048];
    (void)snprintf(text, sizeof text, "cd '%s' && rm -rf row && mkdir row && cd row && { %s; }",
                   s.folder, script);
    const char *argv[] = {"sh", "-c", text, LT_PROGRAM, NULL};
    run_tell_sanitizers(2);
    run_tell_mpirun();
    return run_argv(&s, argv, RUN_LIMIT_S);
}

static int says(const run_result *r, const char *want)
{
    const int not = want[0] == '!';
    return (strstr(r->out, want + not ) != NULL || strstr(r->err, want + not ) != NULL) != not ;
}

static void words_are_answered(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        run_result r = sh(rows[i].script);
        int good = r.code == rows[i].code;
        for (int k = 0; k < 5 && rows[i].said[k] != NULL; k++)
            if (!says(&r, rows[i].said[k])) {
                print_error("%s: want \"%s\"\n", rows[i].name, rows[i].said[k]);
                good = 0;
            }
        if (!good)
            print_error("%s: want %d, found %d, \"%s\", \"%s\"\n", rows[i].name, rows[i].code,
                        r.code, r.out, r.err);
        wrong += !good;
        run_free(&r);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_answered),
    };
    return cmocka_run_group_tests_name("words", tests, scratch_setup, scratch_teardown);
}
