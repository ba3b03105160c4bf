/* test_h5py.c - others read latents.h5 as we do.
 * Goal: h5py with hdf5plugin's zstd finds the datasets that `longtake inspect --json` tells of, of
 * a film and of a storyboard: names, shapes, least and largest value to the bit, the mean, and,
 * where Python's xxhash is installed, the hash of the values and its attribute. Method: a script
 * that compares and says how many values it saw. Ranks: 1. Needs: tests/parity/nano; python3 with
 * h5py, hdf5plugin and numpy (skipped with a line, else). */
#include "tests/support/film.h"
#include "tests/support/the_scratch.h"

#define NANO LT_SOURCE_DIR "/tests/parity/nano"

/* Exit code 3: a module is missing. */
static const char compare[] =
    "import json, sys\n"
    "try:\n"
    "    import h5py, hdf5plugin, numpy\n"
    "except ImportError as e:\n"
    "    print(e)\n"
    "    sys.exit(3)\n"
    "try:\n"
    "    import xxhash\n"
    "except ImportError:\n"
    "    xxhash = None\n"
    "told = json.load(open(sys.argv[2]))['latents']['streams']\n"
    "count = 0\n"
    "names = []\n"
    "with h5py.File(sys.argv[1], 'r') as file:\n"
    "    file.visititems(lambda n, o: names.append(n) if isinstance(o, h5py.Dataset) else None)\n"
    "    assert sorted(names) == sorted(t['name'] for t in told), (names, told)\n"
    "    for t in told:\n"
    "        d = file[t['name']]\n"
    "        x = d[()]\n"
    "        assert x.dtype == numpy.float32 and list(x.shape) == t['shape'], (x.dtype, x.shape, "
    "t)\n"
    "        assert float(x.min()) == t['min'] and float(x.max()) == t['max'], (x.min(), x.max(), "
    "t)\n"
    "        mean = x.astype(numpy.float64).mean()\n"
    "        assert abs(mean - t['mean']) <= 1e-9, (mean, t)\n"
    "        says = d.attrs['xxh64']\n"
    "        says = says.decode() if isinstance(says, bytes) else str(says)\n"
    "        assert says == t['xxh64'], (says, t)\n"
    "        if xxhash is not None:\n"
    "            assert xxhash.xxh64(x.tobytes()).hexdigest() == t['xxh64'], t\n"
    "        count += x.size\n"
    "print(count, 'values,', 'hashed' if xxhash is not None else 'no xxhash here')\n";

static void h5py_finds_what_inspect_tells(void **state)
{
    (void)state;
    static const struct {
        const char *why, *job;
        int datasets;
    } cases[] = {
        {"a film", "prompt: A ball.\nframes: 39\n", 2},
        {"a storyboard", "shots: [{prompt: A ball., frames: 22}, {prompt: A cube., frames: 39}]\n",
         4},
    };
    scratch_text(&s, "compare.py", compare);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char job[400];
        (void)snprintf(job, sizeof job, "%smodel: " NANO "\nsize: 64x32\nsteps: 3\n", cases[i].job);
        scratch_text(&s, "job.yaml", job);
        run_well(&s, 1,
                 RUN_WORDS("render", scratch_path(&s, "job.yaml"), "-q", "--overwrite", "-o",
                           scratch_path(&s, "a.mp4")));
        run_result told =
            run_longtake(&s, 1, RUN_WORDS("inspect", "--json", scratch_path(&s, "a.run")));
        assert_int_equal(told.code, 0);
        scratch_text(&s, "told.json", told.out);
        assert_int_equal(count_of(told.out, "\"xxh64\""), cases[i].datasets);
        run_free(&told);
        run_result r = run_argv(&s,
                                (const char *const[]){"python3", scratch_path(&s, "compare.py"),
                                                      scratch_path(&s, "a.run/latents.h5"),
                                                      scratch_path(&s, "told.json"), NULL},
                                RUN_LIMIT_S);
        if (r.code == 3 || r.code == 127) {
            print_message("skipped: python3 without h5py or hdf5plugin: %s\n", r.out);
            run_free(&r);
            skip();
        }
        if (r.code != 0)
            fail_msg("%s: %s", cases[i].why, r.err);
        print_message("%s: %s", cases[i].why, r.out);
        run_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(h5py_finds_what_inspect_tells)};
    return cmocka_run_group_tests_name("h5py", tests, scratch_setup, scratch_teardown);
}
