#include "worker/test_hooks.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *setting(void)
{
    return getenv("CRMSYNC_TEST_CRASH_AT");
}

bool cs_test_due(bool on, const char *point)
{
    static long passed; /* one point is watched, and only the checkpoint thread passes points */
    const char *at = on ? setting() : NULL;
    size_t n = strlen(point);

    if (at == NULL || strncmp(at, point, n) != 0 || at[n] != ':')
        return false;
    return ++passed >= strtol(at + n + 1, NULL, 10);
}

void cs_test_hook(bool on, const char *point)
{
    if (cs_test_due(on, point))
        _exit(137);
}

int cs_test_commit_ms(bool on, int normal_ms)
{
    static const char name[] = "commit_cut:";
    static unsigned long commits;
    const char *at = on ? setting() : NULL;

    if (at == NULL || strncmp(at, name, sizeof(name) - 1) != 0)
        return normal_ms;
    /* two of three are cut after 0 to ms milliseconds, so that some go through and time moves on */
    commits++;
    if (commits % 3 == 0)
        return normal_ms;
    return (int)(commits % ((unsigned long)strtol(at + sizeof(name) - 1, NULL, 10) + 1));
}
