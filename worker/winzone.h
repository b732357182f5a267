/* winzone.h - Windows time zone names to IANA names, by CLDR's table. PURE.
 *
 * The table is generated: see winzone_gen.py; its CLDR version is cs_winzone_cldr.
 */
#ifndef CS_WORKER_WINZONE_H
#define CS_WORKER_WINZONE_H

#include <stdbool.h>
#include <stddef.h>

/** "W. Europe Standard Time" gives "Europe/Berlin". ASCII case ignored. Static; NULL: not in the table. */
const char *cs_winzone_iana(const char *windows_name);
extern const char *const cs_winzone_cldr; /* version of the table's source */
/** i-th row, for tests; false past the end. */
bool cs_winzone_row(size_t i, const char **windows_name, const char **iana);

#endif
