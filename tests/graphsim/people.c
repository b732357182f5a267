#include "people.h"

#include <stdio.h>
#include <string.h>

#include "sim.h"

struct name {
    const char *native; /* NULL: the same as ascii */
    const char *ascii;
};

/* Names of one script belong together; family_first: Chinese, Japanese, Korean order. */
struct script {
    struct name given[8];
    struct name family[8];
    bool family_first;
    unsigned weight; /* of 100 */
};

static const struct script scripts[] = {
    {{{NULL, "Ann"},
      {NULL, "Robert"},
      {NULL, "Carla"},
      {NULL, "David"},
      {NULL, "Eva"},
      {NULL, "Peter"},
      {NULL, "Grace"},
      {NULL, "Thomas"}},
     {{NULL, "Miller"},
      {NULL, "Novak"},
      {NULL, "Rossi"},
      {NULL, "Smith"},
      {NULL, "Jensen"},
      {NULL, "Schmidt"},
      {"O\xe2\x80\x99"
       "Brien",
       "OBrien"},
      {NULL, "van den Berg"}},
     false,
     44},
    {{{"Jürgen", "juergen"},
      {"Zoë", "zoe"},
      {"François", "francois"},
      {"Łukasz", "lukasz"},
      {"Søren", "soren"},
      {"Jiří", "jiri"},
      {"Şule", "sule"},
      {"Núria", "nuria"}},
     {{"Müller", "mueller"},
      {"Ångström", "angstrom"},
      {"García López", "garcia"},
      {"Wiśniewski", "wisniewski"},
      {"Dvořák", "dvorak"},
      {"Yılmaz", "yilmaz"},
      {"Nguyễn", "nguyen"},
      {"Großmann", "grossmann"}},
     false,
     22},
    {{{"Дмитрий", "dmitri"},
      {"Анна", "anna"},
      {"Олена", "olena"},
      {"Иван", "ivan"},
      {"Светлана", "svetlana"},
      {"Андрій", "andrii"},
      {"Мария", "maria"},
      {"Горан", "goran"}},
     {{"Иванов", "ivanov"},
      {"Шевченко", "shevchenko"},
      {"Кузнецова", "kuznetsova"},
      {"Петровић", "petrovic"},
      {"Соколов", "sokolov"},
      {"Їжакевич", "yizhakevych"},
      {"Щербаков", "shcherbakov"},
      {"Димитров", "dimitrov"}},
     false,
     8},
    {{{"Γιώργος", "giorgos"},
      {"Ελένη", "eleni"},
      {"Νίκος", "nikos"},
      {"Μαρία", "maria"},
      {"Ιωάννης", "ioannis"},
      {"Σοφία", "sofia"},
      {"Χρήστος", "christos"},
      {"Άννα", "anna"}},
     {{"Παπαδόπουλος", "papadopoulos"},
      {"Ιωάννου", "ioannou"},
      {"Οικονόμου", "oikonomou"},
      {"Βλάχος", "vlachos"},
      {"Αντωνίου", "antoniou"},
      {"Μακρής", "makris"},
      {"Δημητρίου", "dimitriou"},
      {"Καραγιάννης", "karagiannis"}},
     false,
     5},
    {{{"فريد", "farid"},
      {"ليلى", "layla"},
      {"محمد", "mohammed"},
      {"نور", "nour"},
      {"أحمد", "ahmed"},
      {"سارة", "sara"},
      {"يوسف", "youssef"},
      {"دانة", "dana"}},
     {{"حداد", "haddad"},
      {"المنصوري", "almansoori"},
      {"الفهد", "alfahad"},
      {"خوري", "khoury"},
      {"بن علي", "benali"},
      {"النجار", "alnajjar"},
      {"زيدان", "zidan"},
      {"قاسم", "qasim"}},
     false,
     6},
    {{{"דוד", "david"},
      {"נועה", "noa"},
      {"יוסי", "yossi"},
      {"מיכל", "michal"},
      {"אורי", "uri"},
      {"תמר", "tamar"},
      {"אבי", "avi"},
      {"שירה", "shira"}},
     {{"כהן", "cohen"},
      {"לוי", "levi"},
      {"מזרחי", "mizrahi"},
      {"פרץ", "peretz"},
      {"ביטון", "biton"},
      {"אברהם", "avraham"},
      {"פרידמן", "friedman"},
      {"שפירא", "shapira"}},
     false,
     3},
    {{{"伟", "wei"},
      {"芳", "fang"},
      {"秀英", "xiuying"},
      {"磊", "lei"},
      {"娜", "na"},
      {"建国", "jianguo"},
      {"晓明", "xiaoming"},
      {"静", "jing"}},
     {{"王", "wang"},
      {"李", "li"},
      {"张", "zhang"},
      {"刘", "liu"},
      {"陈", "chen"},
      {"欧阳", "ouyang"},
      {"黄", "huang"},
      {"𠮷", "ji"}},
     true,
     5},
    {{{"太郎", "taro"},
      {"さくら", "sakura"},
      {"健一", "kenichi"},
      {"美咲", "misaki"},
      {"ひろし", "hiroshi"},
      {"陽子", "yoko"},
      {"翔太", "shota"},
      {"ユリ", "yuri"}},
     {{"田中", "tanaka"},
      {"佐藤", "sato"},
      {"鈴木", "suzuki"},
      {"髙橋", "takahashi"},
      {"渡邉", "watanabe"},
      {"伊藤", "ito"},
      {"𠮷田", "yoshida"},
      {"中村", "nakamura"}},
     true,
     5},
    {{{"민준", "minjun"},
      {"서연", "seoyeon"},
      {"지훈", "jihoon"},
      {"수빈", "subin"},
      {"하은", "haeun"},
      {"도윤", "doyun"},
      {"예진", "yejin"},
      {"현우", "hyunwoo"}},
     {{"김", "kim"},
      {"이", "lee"},
      {"박", "park"},
      {"최", "choi"},
      {"정", "jung"},
      {"강", "kang"},
      {"조", "cho"},
      {"윤", "yoon"}},
     true,
     2},
};
#define N_SCRIPTS (sizeof(scripts) / sizeof(scripts[0]))

/* Outside domains with the script that most of their people write their names in (an index of scripts). */
static const struct {
    const char *domain;
    const char *company;
    unsigned script;
} firms[] = {
    {"fabrikam.example", "Fabrikam Inc.", 0},
    {"northwind.example", "Northwind Traders", 0},
    {"litware.example", "Litware, Inc.", 0},
    {"Proseware.example", "Proseware & Partners", 0},
    {"mail.adventure-works.example", "Adventure Works", 0},
    {"xn--mller-brombel-rmb4fg.example", "Müller Büromöbel GmbH", 1},
    {"wingtip.co.example", "Wingtip Łódź Sp. z o.o.", 1},
    {"sever.example", "ООО «Север»", 2},
    {"aigaion.example", "Αιγαίον Α.Ε.", 3},
    {"gulf-trade.example", "شركة الخليج للتجارة", 4},
    {"galil.example", "גליל בע״מ", 5},
    {"changjiang.example", "长江科技有限公司", 6},
    {"sakura-shoji.example", "株式会社さくら商事", 7},
    {"hangang.example", "한강물산", 8},
};
#define N_FIRMS (sizeof(firms) / sizeof(firms[0]))

static const char *const rooms[SIM_PEOPLE_ROOMS] = {
    "Room Aalto",    "Besprechungsraum Köln",
    "Salle Curie",   "Board Room (12)",
    "Комната Волга", "会议室 3",
    "Lab 2.17",      "Café ☕",
};
static const char *const lists[SIM_PEOPLE_LISTS] = {"All Staff", "Sales Team", "Projektgruppe Nord",
                                                    "Leadership"};

static const struct script *pick_script(uint64_t h)
{
    unsigned roll = (unsigned)(h % 100);
    for (size_t i = 0; i < N_SCRIPTS; i++) {
        if (roll < scripts[i].weight)
            return &scripts[i];
        roll -= scripts[i].weight;
    }
    return &scripts[0];
}

static const char *native(const struct name *n)
{
    return n->native != NULL ? n->native : n->ascii;
}

/* "van den Berg" to "vandenberg" */
static void add_local(char *out, size_t size, const char *ascii, bool lower)
{
    size_t n = strlen(out);
    for (; *ascii != '\0' && n + 1 < size; ascii++) {
        char c = *ascii;
        if (c == ' ')
            continue;
        out[n++] = lower && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    out[n] = '\0';
}

static void special(const char *name, const char *kind, uint32_t n, const char *domain,
                    struct sim_person *ret)
{
    snprintf(ret->name, sizeof(ret->name), "%s", name);
    snprintf(ret->address, sizeof(ret->address), "%s-%u@%.90s", kind, n + 1, domain);
}

static size_t firm_of(uint64_t seed, uint32_t n)
{
    return (size_t)(sim_hash(seed + 11, n) % N_FIRMS);
}

const char *sim_person_company(uint64_t seed, uint32_t n)
{
    return firms[firm_of(seed, n)].company;
}

void sim_person_get(uint64_t seed, const char *domain, uint32_t n, struct sim_person *ret)
{
    if (n >= SIM_PEOPLE_ROOM && n < SIM_PEOPLE_ROOM + SIM_PEOPLE_ROOMS) {
        special(rooms[n - SIM_PEOPLE_ROOM], "room", n - SIM_PEOPLE_ROOM, domain, ret);
        return;
    }
    if (n >= SIM_PEOPLE_LIST && n < SIM_PEOPLE_LIST + SIM_PEOPLE_LISTS) {
        special(lists[n - SIM_PEOPLE_LIST], "list", n - SIM_PEOPLE_LIST, domain, ret);
        return;
    }
    uint64_t h = sim_hash(seed + 7, n);
    bool inside = n < SIM_PEOPLE_COLLEAGUES;
    size_t firm = firm_of(seed, n);
    const struct script *s = pick_script(h >> 32);
    if (!inside && h % 4 != 0)
        s = &scripts[firms[firm].script];
    const struct name *given = &s->given[(h >> 3) % 8], *family = &s->family[(h >> 9) % 8];
    const char *tail = inside || (h >> 13) % 40 != 0 ? "" : " 🚀";

    if (s->family_first)
        snprintf(ret->name, sizeof(ret->name), "%s%s%s", native(family), native(given), tail);
    else if ((h >> 17) % 8 == 0) /* as some directories have it */
        snprintf(ret->name, sizeof(ret->name), "%s, %s%s", native(family), native(given), tail);
    else
        snprintf(ret->name, sizeof(ret->name), "%s %s%s", native(given), native(family), tail);

    bool lower = (h >> 21) % 4 != 0;
    char local[64] = "";
    add_local(local, 24, given->ascii, lower);
    add_local(local, sizeof(local), (h >> 24) % 8 == 0 ? "_" : ".", false);
    add_local(local, 48, family->ascii, lower);
    if (inside) /* the number keeps colleagues apart: 64 of them share 72 pairs of names */
        snprintf(ret->address, sizeof(ret->address), "%s%u@%.60s", local, n, domain);
    else
        snprintf(ret->address, sizeof(ret->address), "%s%s@%s", local,
                 (h >> 27) % 50 == 0 ? "+crm" : "", firms[firm].domain);
}

uint32_t sim_person_pick(uint64_t hash)
{
    if (hash % 2 == 0)
        return (uint32_t)((hash >> 8) % SIM_PEOPLE_COLLEAGUES);
    /* few are met often, many once */
    uint64_t span = (hash >> 1) % 4 != 0 ? 60 : 4000;
    return SIM_PEOPLE_OUTSIDE + (uint32_t)((hash >> 8) % span);
}
