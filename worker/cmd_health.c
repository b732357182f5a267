#include <stdio.h>
#include <sysexits.h>

#include "common/health.h"
#include "worker/commands.h"
#include "worker/settings.h"

static int ask(const char *config, const char *page)
{
    struct cs_worker_conf conf;
    struct cs_conf_error err;
    int code;

    if (cs_worker_conf_load(config, &conf, NULL, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return EX_CONFIG;
    }
    code = cs_health_check(conf.common.admin_listen, page);
    cs_worker_conf_clear(&conf);
    return code;
}

int cs_cmd_health(int argc, char **argv)
{
    return cs_health_verb("crmsync-worker", argc, argv, CS_DEFAULT_CONFIG, ask);
}
