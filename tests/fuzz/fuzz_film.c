/* fuzz_film.c - any bytes as a film, through media/film_read.
 * FFmpeg's demuxers and decoders are not ours, and all of them may be reached from a file of a
 * stranger: what is held here is that we end well, that what comes has the sizes that were said,
 * and that every sample is a number. Seeds: tiny films of lt_mux, and lists of other files. */
#include <math.h>
#include <sys/mman.h>

#include "base/log.h"
#include "fuzz_main.h"
#include "media/film_read.h"
#include "media/mux.h"

enum { SIDE = 32, FRAMES = 3, RATE = 8000, SAMPLES = 1000, EVENTS_MAX = 200 };

#define require(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void look(lt_film *film)
{
    static uint8_t rgb[3 * 8 * 8];
    const lt_film_facts *facts = lt_film_look(film);
    lt_film_event e = {.kind = LT_FILM_END};
    uint64_t sum = 0;
    for (int i = 0; i < EVENTS_MAX && lt_film_next(film, &e) == LT_OK && e.kind != LT_FILM_END;
         i++) {
        if (e.kind == LT_FILM_VIDEO) {
            require(e.width == facts->width && e.height == facts->height);
            require(e.width >= 1 && (int64_t)e.width * e.height <= LT_FILM_PIXELS_MAX);
            sum += e.luma[(int64_t)e.width * e.height - 1];
            sum += e.cr[(int64_t)e.chroma_width * e.chroma_height - 1];
            if (lt_film_rgb(film, 8, 8, rgb) == LT_OK)
                sum += rgb[0];
        }
        for (int64_t k = 0; k < e.samples; k++)
            require(isfinite(e.pcm[0][k]) && isfinite(e.pcm[1][k]));
    }
    require(sum < UINT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    lt_film *film = NULL;
    if (fd < 0) {
        lt_log_open(0, 1, 0);
        fd = memfd_create("film", MFD_CLOEXEC);
        require(fd >= 0);
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    require(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    const lt_status st = lt_film_open(path, &film);
    require(st == LT_OK || st == LT_EDATA || st == LT_EUNAVAIL || st == LT_ENOMEM);
    require((st == LT_OK) == (film != NULL));
    if (film != NULL)
        look(film);
    lt_film_close(&film);
    return 0;
}

static fuzz_seed seeds[7];

/* A film of three frames in memory. */
static fuzz_seed film_seed(const char *folder, const char *name, const char *codec, int fragments)
{
    static uint16_t rgb[3 * SIDE * SIDE];
    static float pcm[SAMPLES];
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    const lt_mux_spec spec = {.path = path,
                              .codec = codec,
                              .width = SIDE,
                              .height = SIDE,
                              .frames = FRAMES,
                              .sample_rate = RATE,
                              .samples = SAMPLES,
                              .keep_fragments = fragments};
    lt_mux *mux = NULL;
    require(lt_mux_open(&spec, &mux) == LT_OK);
    for (int i = 0; i < SAMPLES; i++)
        pcm[i] = (float)(i % 40) / 100;
    for (int t = 0; t < FRAMES; t++) {
        for (int i = 0; i < 3 * SIDE * SIDE; i++)
            rgb[i] = (uint16_t)((i * 37 + t * 999) & 0xffff);
        require(lt_mux_video(mux, rgb, LT_U16) == LT_OK);
    }
    require(lt_mux_audio(mux, (const float *const[]){pcm, pcm}, SAMPLES) == LT_OK);
    require(lt_mux_close(&mux) == LT_OK);
    FILE *f = fopen(path, "rb");
    char *bytes = malloc(1 << 16);
    require(f != NULL && bytes != NULL);
    const size_t n = fread(bytes, 1, 1 << 16, f);
    require(fclose(f) == 0 && unlink(path) == 0);
    return (fuzz_seed){bytes, n};
}

__attribute__((constructor)) static void seeds_make(void)
{
    static const char list[] = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n/etc/hostname\n";
    static const char script[] = "ffconcat version 1.0\nfile '/etc/hostname'\n";
    char folder[] = "/tmp/longtake-fuzz-XXXXXX";
    require(mkdtemp(folder) != NULL);
    seeds[0] = film_seed(folder, "a.mp4", "h264", 0);
    seeds[1] = film_seed(folder, "b.mp4", "h264", 1);
    seeds[2] = film_seed(folder, "c.mkv", "ffv1", 0);
    seeds[3] = film_seed(folder, "d.mov", "prores", 0);
    seeds[4] = film_seed(folder, "e.mkv", "hevc", 0);
    seeds[5] = (fuzz_seed){list, sizeof list - 1};
    seeds[6] = (fuzz_seed){script, sizeof script - 1};
    (void)rmdir(folder);
}

FUZZ_MAIN("film", seeds, 1 << 16)
