#include "worker/winzone.h"

#include <strings.h>

#include "worker/winzone_table.h"

#define N_ROWS (sizeof(winzone_rows) / sizeof(winzone_rows[0]))

const char *const cs_winzone_cldr = CS_WINZONE_CLDR;

const char *cs_winzone_iana(const char *windows_name)
{
    size_t lo = 0, hi = N_ROWS;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcasecmp(windows_name, winzone_rows[mid].windows);

        if (c == 0)
            return winzone_rows[mid].iana;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

bool cs_winzone_row(size_t i, const char **windows_name, const char **iana)
{
    if (i >= N_ROWS)
        return false;
    *windows_name = winzone_rows[i].windows;
    *iana = winzone_rows[i].iana;
    return true;
}
