#include <getopt.h>
#include <stdio.h>
#include <sysexits.h>

#include "common/admin.h"
#include "producer/commands.h"
#include "producer/settings.h"

static int help(FILE *to, int code)
{
    fputs("usage: crmsync-producer health [-c FILE] [--ready]\n\n"
          "Asks the producer that runs here with this configuration for /livez on its admin port, "
          "which\n"
          "admin.listen must name; for health checks where there is no other HTTP client.\n\n"
          "  --ready  ask /readyz\n\n"
          "Exit 0: it answered 200; 69: another answer or none within 3 s; 78: configuration.\n",
          to);
    return code;
}

int cs_cmd_health(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"ready", no_argument, NULL, 'r'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *path = CS_DEFAULT_CONFIG, *page = "/livez";
    struct cs_producer_conf conf;
    struct cs_conf_error err;
    int o, code;

    while ((o = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        switch (o) {
        case 'c': path = optarg; break;
        case 'r': page = "/readyz"; break;
        case 'h': return help(stdout, 0);
        default: return help(stderr, EX_USAGE);
        }
    if (optind < argc)
        return help(stderr, EX_USAGE);
    if (cs_producer_conf_load(path, &conf, NULL, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return EX_CONFIG;
    }
    code = cs_admin_health(conf.common.admin_listen, page);
    cs_producer_conf_clear(&conf);
    return code;
}
