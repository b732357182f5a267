/* replay.c - a main for fuzz targets without libFuzzer: every file of the corpus, every prefix of the small ones,
 * then seeded mutations: bytes changed, parts doubled, dropped, and swapped in from another file.
 *
 *   fuzz_x CORPUS_FOLDER [ROUNDS [SEED]]     a failing input is left in crash-<target>.bin
 */
#include "fuzz.h"

#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>

#define FILES_MAX 256
#define INPUT_MAX (1 << 16)

static struct {
    uint8_t *p;
    size_t n;
} files[FILES_MAX];
static size_t n_files;
static const uint8_t *current;
static size_t current_n;
static char crash_name[256];

/* Only calls that a signal handler may make. */
static void on_abort(int sig)
{
    int fd = open(crash_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
        ssize_t n = write(fd, current, current_n);
        (void)n; /* dying anyway */
        (void)close(fd);
    }
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
}

static uint64_t next_random(uint64_t *s)
{
    uint64_t x = *s += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* In a heap copy of exactly this size, so that a sanitizer sees every byte read behind it. */
static void run(const uint8_t *p, size_t n)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);
    if (copy == NULL) {
        (void)fprintf(stderr, "out of memory\n");
        exit(2);
    }
    memcpy(copy, p, n);
    current = copy;
    current_n = n;
    (void)LLVMFuzzerTestOneInput(copy, n); /* always 0 */
    free(copy);
}

static int load(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *e;
    char path[4096];

    if (dir == NULL)
        return -1;
    while ((e = readdir(dir)) != NULL && n_files < FILES_MAX) {
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
        FILE *f = fopen(path, "rb");
        uint8_t *p = malloc(INPUT_MAX);
        if (f == NULL || p == NULL) {
            if (f != NULL)
                (void)fclose(f);
            free(p);
            (void)closedir(dir);
            return -1;
        }
        files[n_files].n = fread(p, 1, INPUT_MAX, f);
        files[n_files++].p = p;
        (void)fclose(f); /* only read from */
    }
    (void)closedir(dir);
    return n_files > 0 ? 0 : -1;
}

static size_t mutate(uint8_t *out, uint64_t *seed)
{
    static const char marks[] =
        "{}[]\",:\\/u0123456789-+.eEntf \n\t\x00\x1f\x7f\x80\xc3\xe2\xed\xf0\xff";
    size_t k = next_random(seed) % n_files, n = files[k].n;

    memcpy(out, files[k].p, n);
    for (uint64_t times = 1 + next_random(seed) % 4; times > 0; times--) {
        uint64_t r = next_random(seed);
        size_t at = n > 0 ? (size_t)(r >> 8) % n : 0, len = (size_t)(r >> 40) % 16;
        switch (r % 6) {
        case 0: /* another byte */
            if (n > 0)
                out[at] = (uint8_t)marks[(r >> 32) % (sizeof(marks) - 1)];
            break;
        case 1: /* a bit */
            if (n > 0)
                out[at] ^= (uint8_t)(1u << ((r >> 32) % 8));
            break;
        case 2: /* a byte more */
            if (n < INPUT_MAX) {
                memmove(out + at + 1, out + at, n - at);
                out[at] = (uint8_t)marks[(r >> 32) % (sizeof(marks) - 1)];
                n++;
            }
            break;
        case 3: /* some fewer */
            if (len > n - at)
                len = n - at;
            memmove(out + at, out + at + len, n - at - len);
            n -= len;
            break;
        case 4: /* cut off */ n = at; break;
        default: { /* a part of another file */
            size_t o = next_random(seed) % n_files, from;
            if (files[o].n == 0)
                break;
            from = next_random(seed) % files[o].n;
            len = next_random(seed) % 64;
            if (len > files[o].n - from)
                len = files[o].n - from;
            if (n + len > INPUT_MAX)
                break;
            memmove(out + at + len, out + at, n - at);
            memcpy(out + at, files[o].p + from, len);
            n += len;
            break;
        }
        }
    }
    return n;
}

int main(int argc, char **argv)
{
    static uint8_t input[INPUT_MAX];
    unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;

    if (argc < 2 || load(argv[1]) < 0) {
        (void)fprintf(stderr, "usage: %s CORPUS_FOLDER [ROUNDS [SEED]]; the folder needs files\n",
                      argv[0]);
        return 2;
    }
    const char *base = strrchr(argv[0], '/');
    (void)snprintf(crash_name, sizeof(crash_name), "crash-%s.bin",
                   base != NULL ? base + 1 : argv[0]);
    (void)signal(SIGABRT, on_abort); /* fails for invalid numbers only */
    for (size_t i = 0; i < n_files; i++) {
        run(files[i].p, files[i].n);
        for (size_t n = 0; files[i].n <= 4096 && n < files[i].n; n++)
            run(files[i].p, n);
    }
    for (unsigned long i = 0; i < rounds; i++)
        run(input, mutate(input, &seed));
    (void)printf("%zu files, %lu mutations\n", n_files, rounds);
    for (size_t i = 0; i < n_files; i++)
        free(files[i].p);
    return 0;
}
