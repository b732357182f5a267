#include "content.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"
#include "tz.h"

struct language {
    const char *greet; /* before the name */
    const char *close;
    const char *reply, *forward; /* subject prefixes */
    const char *from, *sent, *to, *subject;
    bool rtl;
    unsigned weight; /* of 100 */
    const char *topic[10];
    const char *sentence[14];
};

static const struct language languages[] = {
    {"Hi",
     "Best regards,",
     "RE: ",
     "FW: ",
     "From:",
     "Sent:",
     "To:",
     "Subject:",
     false,
     52,
     {"Offer", "Contract renewal", "Delivery schedule", "Invoice", "Kick-off", "Budget 2026",
      "Support case", "Visit next week", "Price list", "Q&A: <urgent> open points"},
     {"thank you for the call this morning.", "Please find the revised draft attached.",
      "We would like to move the delivery to the end of the month.",
      "Could you confirm the quantities until Friday?",
      "Legal has no further comments, so we can sign.",
      "The price includes installation & training.",
      "I will be out of the office on Thursday, Maria covers for me.",
      "Margins < 12 % need approval from finance.",
      "Let us know if the \"new\" terms work for you.",
      "Our team has looked at it again and we see two options.",
      "The test system is available from Monday on.", "I have added the open points below.",
      "We\xe2\x80\x99re happy to come to your place \xe2\x80\x93 any day but Tuesday.",
      "Great work everybody \xf0\x9f\x8e\x89\xf0\x9f\x91\x8f\xf0\x9f\x8f\xbd!"}},
    {"Hallo",
     "Mit freundlichen Grüßen",
     "AW: ",
     "WG: ",
     "Von:",
     "Gesendet:",
     "An:",
     "Betreff:",
     false,
     16,
     {"Angebot", "Vertragsverlängerung", "Liefertermin", "Rechnung", "Auftakt Projekt Süd",
      "Budget 2026", "Störung Anlage 3", "Besuch nächste Woche", "Preisliste", "Rückfrage"},
     {"vielen Dank für das Gespräch heute früh.", "anbei der überarbeitete Entwurf.",
      "Wir möchten die Lieferung auf Ende des Monats verschieben.",
      "Können Sie die Mengen bis Freitag bestätigen?",
      "Die Rechtsabteilung hat keine Einwände mehr.", "Der Preis schließt Montage & Schulung ein.",
      "Am Donnerstag bin ich außer Haus, Frau Weiß vertritt mich.",
      "Unter 12 % Marge braucht es eine Freigabe.", "Passt Ihnen „Variante B“?",
      "Unser Team hat es noch einmal geprüft und sieht zwei Möglichkeiten.",
      "Das Testsystem steht ab Montag bereit.", "Die offenen Punkte habe ich unten ergänzt.",
      "Die Maße sind 3,50 m × 2,20 m.", "Schöne Grüße aus Köln!"}},
    {"Bonjour",
     "Cordialement,",
     "RE: ",
     "TR: ",
     "De :",
     "Envoyé :",
     "À :",
     "Objet :",
     false,
     9,
     {"Offre", "Renouvellement du contrat", "Délai de livraison", "Facture", "Réunion de lancement",
      "Budget 2026", "Dossier n°", "Visite", "Tarifs", "Points à éclaircir"},
     {"merci pour l’échange de ce matin.", "Vous trouverez ci-joint le projet révisé.",
      "Nous souhaitons décaler la livraison à la fin du mois.",
      "Pourriez-vous confirmer les quantités d’ici vendredi ?",
      "Le service juridique n’a plus de remarques.",
      "Le prix comprend l’installation et la formation.",
      "Je serai absente jeudi, Benoît me remplace.",
      "En dessous de 12 % il faut l’accord de la direction.",
      "Est-ce que « l’option B » vous convient ?",
      "Notre équipe a relu le dossier et voit deux possibilités.",
      "La plateforme de test sera prête lundi.", "J’ai ajouté les points en suspens ci-dessous.",
      "Cela coûterait 1 250,00 € hors taxes.", "À bientôt !"}},
    {"Добрый день,",
     "С уважением,",
     "RE: ",
     "FW: ",
     "От:",
     "Отправлено:",
     "Кому:",
     "Тема:",
     false,
     7,
     {"Предложение", "Продление договора", "График поставок", "Счёт", "Старт проекта",
      "Бюджет 2026", "Обращение", "Визит", "Прайс-лист", "Вопросы"},
     {"спасибо за утренний разговор.", "Во вложении исправленный проект.",
      "Мы хотели бы перенести поставку на конец месяца.",
      "Подтвердите, пожалуйста, количество до пятницы.", "У юристов больше нет замечаний.",
      "Цена включает монтаж и обучение.", "В четверг меня не будет, замещает Ольга.",
      "Маржа ниже 12 % требует согласования.", "Вам подходит «вариант Б»?",
      "Наша команда ещё раз всё проверила и видит два пути.",
      "Тестовая система доступна с понедельника.", "Открытые вопросы добавил ниже.",
      "Стоимость — 1 250,00 €.", "До встречи!"}},
    {"Αγαπητέ/ή",
     "Με εκτίμηση,",
     "ΑΠ: ",
     "ΠΡΘ: ",
     "Από:",
     "Στάλθηκε:",
     "Προς:",
     "Θέμα:",
     false,
     4,
     {"Προσφορά", "Ανανέωση σύμβασης", "Παράδοση", "Τιμολόγιο", "Έναρξη έργου", "Προϋπολογισμός",
      "Υποστήριξη", "Επίσκεψη", "Τιμοκατάλογος", "Ερωτήσεις"},
     {"ευχαριστώ για τη σημερινή συνομιλία.", "Επισυνάπτεται το αναθεωρημένο σχέδιο.",
      "Θα θέλαμε να μεταφέρουμε την παράδοση στο τέλος του μήνα.",
      "Μπορείτε να επιβεβαιώσετε τις ποσότητες έως την Παρασκευή;",
      "Το νομικό τμήμα δεν έχει άλλα σχόλια.", "Η τιμή περιλαμβάνει εγκατάσταση και εκπαίδευση.",
      "Την Πέμπτη θα λείπω.", "Κάτω από 12 % χρειάζεται έγκριση.", "Σας ταιριάζει η «επιλογή Β»;",
      "Η ομάδα μας βλέπει δύο δυνατότητες.", "Το δοκιμαστικό σύστημα είναι έτοιμο από Δευτέρα.",
      "Πρόσθεσα τα ανοιχτά σημεία παρακάτω.", "Κόστος: 1.250,00 €.", "Καλή συνέχεια!"}},
    {"مرحبا",
     "مع أطيب التحيات،",
     "رد: ",
     "إعادة توجيه: ",
     "من:",
     "تم الإرسال:",
     "إلى:",
     "الموضوع:",
     true,
     4,
     {"عرض سعر", "تجديد العقد", "موعد التسليم", "فاتورة", "انطلاق المشروع", "ميزانية ٢٠٢٦",
      "طلب دعم", "زيارة", "قائمة الأسعار", "أسئلة"},
     {"شكرا على مكالمة هذا الصباح.", "تجدون المسودة المعدلة في المرفقات.",
      "نود تأجيل التسليم إلى نهاية الشهر.", "هل يمكنكم تأكيد الكميات قبل يوم الجمعة؟",
      "لا توجد ملاحظات أخرى من القسم القانوني.", "السعر يشمل التركيب والتدريب.",
      "سأكون خارج المكتب يوم الخميس.", "الهامش أقل من ١٢٪ يحتاج إلى موافقة.",
      "هل يناسبكم «الخيار ب»؟", "راجع فريقنا الملف ويرى خيارين.",
      "نظام الاختبار متاح من يوم الاثنين.", "أضفت النقاط المفتوحة أدناه (see below).",
      "التكلفة ١٬٢٥٠ €.", "إلى اللقاء!"}},
    {"您好，",
     "此致敬礼",
     "答复: ",
     "转发: ",
     "发件人:",
     "发送时间:",
     "收件人:",
     "主题:",
     false,
     4,
     {"报价", "续签合同", "交货时间", "发票", "项目启动", "预算 2026", "支持请求", "来访", "价目表",
      "问题"},
     {"感谢今天早上的通话。", "修改后的草案请见附件。", "我们希望把交货推迟到月底。",
      "请在周五之前确认数量。", "法务部没有其他意见。", "价格包括安装和培训。",
      "周四我不在办公室。", "利润低于12%需要批准。", "“方案B”可以吗？",
      "我们的团队又检查了一遍，有两个选择。", "测试系统从周一起可用。", "我在下面补充了未决事项。",
      "费用为￥12,500。", "回头见！"}},
    {"お世話になっております。",
     "よろしくお願いいたします。",
     "RE: ",
     "FW: ",
     "差出人:",
     "送信日時:",
     "宛先:",
     "件名:",
     false,
     4,
     {"お見積り", "契約更新", "納期の件", "請求書", "キックオフ", "予算2026", "お問い合わせ",
      "ご来訪", "価格表", "確認事項"},
     {"今朝はお電話ありがとうございました。", "修正案を添付いたします。",
      "納品を月末に変更したいと存じます。", "金曜日までに数量をご確認いただけますか。",
      "法務部からの指摘はございません。", "価格には設置とトレーニングが含まれます。",
      "木曜日は不在です。", "利益率が12％未満の場合は承認が必要です。",
      "「B案」でよろしいでしょうか。", "社内で再度確認し、二つの案がございます。",
      "テスト環境は月曜日からご利用いただけます。", "未解決の点を下に追記しました。",
      "費用は￥125,000です。", "またご連絡いたします。"}},
};
#define N_LANGUAGES (sizeof(languages) / sizeof(languages[0]))
#define N_TOPICS    10
#define N_SENTENCES 14

static const struct language *language_of(uint64_t thread)
{
    unsigned roll = (unsigned)(sim_hash(thread, 501) % 100);
    for (size_t i = 0; i < N_LANGUAGES; i++) {
        if (roll < languages[i].weight)
            return &languages[i];
        roll -= languages[i].weight;
    }
    return &languages[0];
}

/* ---- subjects ---------------------------------------------------------------------------------- */

#define THREAD_SUBJECT 2048 /* more than any; cut to SIM_SUBJECT_MAX between characters */

static void thread_subject(uint64_t thread, char out[THREAD_SUBJECT])
{
    const struct language *l = language_of(thread);
    uint64_t h = sim_hash(thread, 502);
    const char *topic = l->topic[h % N_TOPICS];
    uint64_t form = (h >> 8) % 64;

    if (form == 0)
        out[0] = '\0';
    else if (form == 1) /* 4-byte characters, a ZWJ sequence, a combining mark */
        snprintf(out, THREAD_SUBJECT, "👩‍💻 %s 🇪🇺 cafe\xcc\x81", topic);
    else if (form == 2) /* longer than most databases' columns */
        snprintf(out, THREAD_SUBJECT, "%s: %s %s %s %s %s", topic, l->sentence[1], l->sentence[2],
                 l->sentence[3], l->sentence[9], l->sentence[11]);
    else if (form < 34)
        snprintf(out, THREAD_SUBJECT, "%s %u", topic, (unsigned)((h >> 16) % 90000 + 10000));
    else if (form < 44)
        snprintf(out, THREAD_SUBJECT, "[EXT] %s / %s", topic, l->topic[(h >> 16) % N_TOPICS]);
    else
        snprintf(out, THREAD_SUBJECT, "%s", topic);
}

void sim_content_subject(uint64_t thread, uint64_t seed, unsigned depth, char out[SIM_SUBJECT_MAX])
{
    char text[THREAD_SUBJECT] = "";
    const struct language *l = language_of(thread);
    const char *prefix = "";

    thread_subject(thread, text);
    if (depth > 0) {
        uint64_t h = sim_hash(seed, 503) % 16;
        prefix = h == 0 ? l->forward : h == 1 ? "Re: " : l->reply;
    }
    size_t n = strlen(prefix), max = SIM_SUBJECT_MAX - 1 - n;
    size_t len = strlen(text);
    if (len > max) {
        len = max;
        while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80)
            len--;
    }
    memcpy(out, prefix, n);
    memcpy(out + n, text, len);
    out[n + len] = '\0';
}

void sim_content_meeting(uint64_t thread, char out[SIM_SUBJECT_MAX])
{
    static const char *const kinds[] = {
        "", "Jour fixe: ", "Call: ", "1:1 ", "Workshop – ", "Review ", "", ""};
    const struct language *l = language_of(thread);
    uint64_t h = sim_hash(thread, 504);

    snprintf(out, SIM_SUBJECT_MAX, "%s%s%s", kinds[h % 8], l->topic[(h >> 8) % N_TOPICS],
             (h >> 16) % 24 == 0 ? " 📅" : "");
}

/* ---- bodies ------------------------------------------------------------------------------------ */

enum style { STYLE_WORD, STYLE_OWA, STYLE_WEB, STYLE_NEWS };

/* One pass makes either HTML or text; count is the size that the HTML has, in both, because it steers. */
struct emit {
    struct cs_buf *out;
    bool html;
    size_t count;
    size_t text_max; /* of the text, after which nothing more is needed */
    size_t begin;
};

static void tag(struct emit *e, const char *s)
{
    size_t n = strlen(s);
    e->count += n;
    if (e->html)
        cs_buf_add(e->out, s, n);
}

static void line(struct emit *e)
{
    if (!e->html)
        cs_buf_add(e->out, "\r\n", 2);
}

static void text(struct emit *e, const char *s)
{
    if (!e->html) {
        cs_buf_adds(e->out, s);
        for (; *s != '\0'; s++)
            e->count += *s == '<' || *s == '>' ? 4 : *s == '&' ? 5 : 1;
        return;
    }
    size_t before = e->out->len;
    for (;;) {
        size_t n = strcspn(s, "<>&");
        cs_buf_add(e->out, s, n);
        if (s[n] == '\0')
            break;
        cs_buf_adds(e->out, s[n] == '<' ? "&lt;" : s[n] == '>' ? "&gt;" : "&amp;");
        s += n + 1;
    }
    e->count += e->out->len - before;
}

static bool is_full(const struct emit *e)
{
    return !e->html && e->out->len - e->begin >= e->text_max;
}

static const char *open_paragraph(enum style style, bool rtl)
{
    switch (style) {
    case STYLE_WORD:
        return rtl ? "<p class=\"MsoNormal\" dir=\"RTL\" style=\"text-align:right\"><span "
                     "lang=\"AR-SA\">"
                   : "<p class=\"MsoNormal\"><span "
                     "style=\"font-size:11.0pt;font-family:&quot;Calibri&quot;,sans-serif\">";
    case STYLE_OWA:
        return rtl ? "<div dir=\"rtl\" class=\"elementToProof\">"
                   : "<div class=\"elementToProof\" style=\"font-family: Aptos, Calibri, "
                     "Helvetica, sans-serif; font-size: 12pt; color: rgb(0, 0, 0);\">";
    case STYLE_WEB: return rtl ? "<div dir=\"rtl\">" : "<div>";
    default:
        return "<tr><td align=\"left\" valign=\"top\" style=\"padding:0 24px 16px "
               "24px;font-family:Arial,Helvetica,sans-serif;font-size:14px;line-height:20px;color:#"
               "333333\">";
    }
}

static const char *close_paragraph(enum style style)
{
    switch (style) {
    case STYLE_WORD: return "<o:p></o:p></span></p>\r\n";
    case STYLE_OWA:
    case STYLE_WEB: return "</div>\r\n";
    default: return "</td></tr>\r\n";
    }
}

static void paragraph(struct emit *e, enum style style, bool rtl, const char *s)
{
    tag(e, open_paragraph(style, rtl));
    if (*s == '\0')
        tag(e, style == STYLE_WORD ? "&nbsp;" : "<br>");
    text(e, s);
    tag(e, close_paragraph(style));
    line(e);
}

static void table(struct emit *e, const struct language *l, struct sim_rng *rng)
{
    char cell[32];
    unsigned rows = 2 + (unsigned)sim_rng_below(rng, 5);
    tag(e, "<table border=\"1\" cellspacing=\"0\" cellpadding=\"0\" "
           "style=\"border-collapse:collapse;border:none\"><tbody>\r\n");
    for (unsigned i = 0; i < rows; i++) {
        tag(e, "<tr style=\"height:15.0pt\"><td width=\"180\" nowrap=\"\" style=\"border:solid "
               "windowtext 1.0pt;padding:0cm 5.4pt 0cm 5.4pt\">");
        text(e, l->topic[sim_rng_below(rng, N_TOPICS)]);
        tag(e, "</td><td width=\"90\" align=\"right\" style=\"border:solid windowtext "
               "1.0pt;padding:0cm 5.4pt 0cm 5.4pt\">");
        if (!e->html)
            cs_buf_addc(e->out, '\t');
        snprintf(cell, sizeof(cell), "%u,%02u €", (unsigned)sim_rng_below(rng, 90000),
                 (unsigned)sim_rng_below(rng, 100));
        text(e, cell);
        tag(e, "</td></tr>\r\n");
        line(e);
    }
    tag(e, "</tbody></table>\r\n");
}

static void list(struct emit *e, const struct language *l, struct sim_rng *rng)
{
    tag(e, "<ul style=\"margin-top:0cm\" type=\"disc\">\r\n");
    for (uint64_t n = 2 + sim_rng_below(rng, 4); n > 0; n--) {
        tag(e, "<li class=\"MsoListParagraph\" style=\"margin-left:0cm\">");
        if (!e->html)
            cs_buf_adds(e->out, "  * ");
        text(e, l->sentence[sim_rng_below(rng, N_SENTENCES)]);
        tag(e, "</li>\r\n");
        line(e);
    }
    tag(e, "</ul>\r\n");
}

/* Paragraphs until the HTML has grown by budget bytes. A smaller budget gives a beginning of the same. */
static void own_text(struct emit *e, const struct language *l, enum style style, uint64_t seed,
                     size_t budget)
{
    struct sim_rng rng = {seed};
    size_t end = e->count + budget;
    do {
        uint64_t roll = sim_rng_below(&rng, 24);
        if (roll == 0 && style != STYLE_NEWS) {
            table(e, l, &rng);
        } else if (roll == 1 && style != STYLE_NEWS) {
            list(e, l, &rng);
        } else {
            tag(e, open_paragraph(style, l->rtl));
            for (uint64_t n = 1 + sim_rng_below(&rng, 5); n > 0; n--) {
                uint64_t pick = sim_rng_next(&rng);
                text(e, l->sentence[pick % N_SENTENCES]);
                if ((pick >> 32) % 12 == 0) {
                    char ref[24];
                    snprintf(ref, sizeof(ref), " (#%u)", (unsigned)(pick >> 40) % 100000);
                    text(e, ref);
                }
                if (n > 1)
                    text(e, " ");
            }
            tag(e, close_paragraph(style));
            line(e);
            if ((roll & 3) == 2)
                paragraph(e, style, l->rtl, "");
        }
    } while (e->count < end && !is_full(e));
}

static void signature(struct emit *e, const struct language *l, enum style style,
                      const struct sim_author *a, const char *company)
{
    char phone[64];
    uint64_t h = sim_hash(a->seed == 0 ? 1 : sim_hash_str(0, a->address), 5);
    paragraph(e, style, l->rtl, l->close);
    if (style == STYLE_WEB)
        tag(e, "<br clear=\"all\"><span class=\"gmail_signature_prefix\">-- </span><br><div "
               "dir=\"ltr\" class=\"gmail_signature\" data-smartmail=\"gmail_signature\">");
    tag(e, "<p style=\"margin:0\"><b><span style=\"color:#1F497D\">");
    text(e, a->name);
    tag(e, "</span></b></p>");
    line(e);
    if (*company != '\0') {
        tag(e, "<p style=\"margin:0\"><span style=\"font-size:9.0pt;color:#7F7F7F\">");
        text(e, company);
        snprintf(phone, sizeof(phone), " | T +49 30 555-%04u | ", (unsigned)(h % 10000));
        text(e, phone);
        tag(e, "<a href=\"mailto:");
        tag(e, a->address);
        tag(e, "\">");
        text(e, a->address);
        tag(e, "</a></span></p>\r\n");
        line(e);
    }
    if (h % 6 == 0) {
        tag(e, "<p><span style=\"font-size:7.5pt;color:gray\">");
        text(e, "This message is confidential. If you are not the intended recipient, please "
                "delete it & tell the sender.");
        tag(e, "</span></p>\r\n");
        line(e);
    }
    if (style == STYLE_WEB)
        tag(e, "</div>");
}

static void head_line(struct emit *e, const char *label, const char *value, bool last)
{
    tag(e, "<b>");
    text(e, label);
    tag(e, "</b> ");
    if (!e->html)
        cs_buf_addc(e->out, ' ');
    text(e, value);
    if (!last)
        tag(e, "<br>\r\n");
    line(e);
}

/* The divider and what it divides: the letters before, nested or one after another. */
static void quotes(struct emit *e, const struct language *l, enum style style,
                   const struct sim_content *c, size_t budget)
{
    size_t n = c->n_quotes < SIM_CONTENT_QUOTES ? c->n_quotes : SIM_CONTENT_QUOTES;
    size_t opened = 0;
    char when[64], who[320], subject[SIM_SUBJECT_MAX];

    for (size_t i = 0; i < n && !is_full(e); i++) {
        const struct sim_author *q = &c->quote[i];
        int64_t s = q->sent_ms / 1000;
        int y, m, d;
        size_t share = budget / (i + 2);

        sim_day_split(sim_day_of_s(s), &y, &m, &d);
        snprintf(when, sizeof(when), "%d.%02d.%04d %02d:%02d", d, m, y, (int)(s / 3600 % 24),
                 (int)(s / 60 % 60));
        snprintf(who, sizeof(who), "%s <%s>", q->name, q->address);
        if (style == STYLE_WEB) {
            tag(e, "<br><div class=\"gmail_quote\"><div dir=\"ltr\" class=\"gmail_attr\">");
            text(e, when);
            text(e, ", ");
            text(e, who);
            text(e, ":");
            tag(e, "<br></div><blockquote class=\"gmail_quote\" style=\"margin:0px 0px 0px "
                   "0.8ex;border-left:1px solid rgb(204,204,204);padding-left:1ex\">\r\n");
            line(e);
            opened++;
        } else {
            tag(e, style == STYLE_OWA
                       ? "<hr tabindex=\"-1\" style=\"display:inline-block; width:98%\"><div "
                         "id=\"divRplyFwdMsg\" dir=\"ltr\"><font face=\"Calibri, sans-serif\" "
                         "color=\"#000000\" style=\"font-size:11pt\">"
                       : "<div><div style=\"border:none;border-top:solid #E1E1E1 "
                         "1.0pt;padding:3.0pt 0cm 0cm 0cm\"><p class=\"MsoNormal\">");
            if (!e->html)
                cs_buf_adds(e->out, "________________________________\r\n");
            head_line(e, l->from, who, false);
            head_line(e, l->sent, when, false);
            if (*c->to != '\0')
                head_line(e, l->to, i % 2 == 0 ? c->self.name : c->to, false);
            sim_content_subject(c->thread, q->seed, (unsigned)(n - i - 1), subject);
            head_line(e, l->subject, subject, true);
            tag(e, style == STYLE_OWA ? "</font><div>&nbsp;</div></div>\r\n"
                                      : "<o:p></o:p></p></div></div>\r\n");
        }
        own_text(e, l, style, q->seed, share < 200 ? 200 : share);
        tag(e, "<p style=\"margin:0\">");
        text(e, q->name);
        tag(e, "</p>\r\n");
        line(e);
    }
    for (; opened > 0; opened--)
        tag(e, "</blockquote></div>");
}

static void begin(struct emit *e, enum style style)
{
    static const char word_css[] =
        "<style><!--\r\n@font-face\r\n\t{font-family:\"Cambria Math\";\r\n\tpanose-1:2 4 5 3 5 4 6 "
        "3 2 4;}\r\n@font-face\r\n\t{font-family:Calibri;\r\n\tpanose-1:2 15 5 2 2 2 4 3 2 4;}\r\n"
        "p.MsoNormal, li.MsoNormal, "
        "div.MsoNormal\r\n\t{margin:0cm;\r\n\tfont-size:11.0pt;\r\n\tfont-family:\"Calibri\",sans-"
        "serif;}\r\na:link, "
        "span.MsoHyperlink\r\n\t{color:#0563C1;\r\n\ttext-decoration:underline;}\r\n"
        ".MsoChpDefault\r\n\t{font-size:10.0pt;}\r\n@page WordSection1\r\n\t{size:612.0pt "
        "792.0pt;\r\n\tmargin:70.85pt 70.85pt 2.0cm "
        "70.85pt;}\r\ndiv.WordSection1\r\n\t{page:WordSection1;}\r\n--></style>";
    tag(e, "<html");
    if (style == STYLE_WORD)
        tag(e, " xmlns:v=\"urn:schemas-microsoft-com:vml\" "
               "xmlns:o=\"urn:schemas-microsoft-com:office:office\" "
               "xmlns:w=\"urn:schemas-microsoft-com:office:word\"");
    tag(e, "><head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\">");
    if (style == STYLE_WORD)
        tag(e, word_css);
    else if (style == STYLE_OWA)
        tag(e, "<style type=\"text/css\" "
               "style=\"display:none\">\r\n<!--\r\np\r\n\t{margin-top:0;\r\n\tmargin-bottom:0}\r\n-"
               "->\r\n</style>");
    tag(e, "</head><body>\r\n");
    if (style == STYLE_WORD)
        tag(e, "<div class=\"WordSection1\">\r\n");
    if (style == STYLE_NEWS)
        tag(e, "<div "
               "style=\"display:none;max-height:0;overflow:hidden\">&#847;&zwnj;&nbsp;</div><table "
               "width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" "
               "bgcolor=\"#F4F4F4\" style=\"min-width:100%\"><tbody>"
               "<tr><td align=\"center\"><table width=\"600\" cellpadding=\"0\" cellspacing=\"0\" "
               "border=\"0\" style=\"background-color:#ffffff\"><tbody><tr><td><img alt=\"\" "
               "width=\"600\" height=\"120\" border=\"0\" "
               "src=\"https://img.news.example/h.png?u=0a1b2c\" "
               "style=\"display:block\"></td></tr>\r\n");
}

static void finish(struct emit *e, enum style style)
{
    if (style == STYLE_NEWS) {
        tag(e, "<tr><td style=\"padding:24px;font-size:11px;color:#888888\">");
        text(e, "You get this mail because you are a customer.");
        tag(e, " <a href=\"https://news.example/u?x=1&amp;y=2\" target=\"_blank\">");
        text(e, "Unsubscribe");
        tag(e, "</a></td></tr></tbody></table></td></tr></tbody></table>\r\n");
        line(e);
    }
    tag(e, style == STYLE_WORD ? "</div>\r\n</body></html>\r\n" : "</body></html>\r\n");
}

/* A normal deviate: the sum of twelve uniforms is near enough, and bounded. */
static double normal(uint64_t seed)
{
    struct sim_rng rng = {seed};
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += sim_rng_unit(&rng);
    return sum;
}

static void write_body(const struct sim_content *c, struct emit *e, bool unique)
{
    const double sigma = 0.8;
    const struct language *l = language_of(c->thread);
    uint64_t h = sim_hash(c->self.seed, 505);
    enum style style = c->n_quotes == 0 && h % 9 == 0 ? STYLE_NEWS : (enum style)(h / 16 % 3);
    double want = (double)c->mean_bytes * exp(sigma * normal(h) - sigma * sigma / 2);
    size_t size = want > SIM_BODY_MAX ? SIM_BODY_MAX : want < 200 ? 200 : (size_t)want;
    char hello[256];

    begin(e, style);
    /* the frame and the signature are part of the size */
    size_t left = size > e->count + 850 ? size - e->count - 850 : 0;
    bool has_quotes = c->n_quotes > 0 && style != STYLE_NEWS;
    snprintf(hello, sizeof(hello), "%s %s", l->greet, c->to);
    paragraph(e, style, l->rtl, hello);
    own_text(e, l, style, c->self.seed, has_quotes ? left / 3 : left);
    if (style != STYLE_NEWS)
        signature(e, l, style, &c->self, c->company);
    if (has_quotes && !unique)
        quotes(e, l, style, c, left * 2 / 3);
    finish(e, style);
}

void sim_content_body(const struct sim_content *c, bool html, bool unique, struct cs_buf *out)
{
    struct emit e = {out, html, 0, SIZE_MAX, out->len};
    write_body(c, &e, unique);
}

void sim_content_preview(const struct sim_content *c, struct cs_buf *out)
{
    struct emit e = {out, false, 0, 255 * 4, out->len};
    size_t at = out->len, chars = 0;

    write_body(c, &e, false);
    for (; at < out->len && chars < 255; chars++) {
        do
            at++;
        while (at < out->len && ((unsigned char)out->data[at] & 0xC0) == 0x80);
    }
    if (cs_buf_failed(out) == 0)
        cs_buf_truncate(out, at);
}

/* ---- small things ------------------------------------------------------------------------------ */

void sim_content_file(uint64_t seed, bool is_inline, char name[96], const char **content_type,
                      size_t *bytes)
{
    static const struct {
        const char *name, *type;
        unsigned kb;
    } files[] = {
        {"Offer %u.pdf", "application/pdf", 300},
        {"Angebot Büromöbel %u.docx",
         "application/vnd.openxmlformats-officedocument.wordprocessingml.document", 60},
        {"Прайс-лист %u.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
         40},
        {"IMG_%u.jpg", "image/jpeg", 2500},
        {"契約書 %u.pdf", "application/pdf", 500},
        {"archive (%u).zip", "application/x-zip-compressed", 900},
        {"notes & \"open points\" %u.txt", "text/plain", 3},
        {"scan%u", "application/octet-stream", 120},
    };
    uint64_t h = sim_hash(seed, 506);
    unsigned number = (unsigned)((h >> 8) % 9000 + 1000);

    if (is_inline) {
        snprintf(name, 96, "image%03u.png", (unsigned)((h >> 8) % 20 + 1));
        *content_type = "image/png";
        *bytes = 1500 + (size_t)((h >> 24) % 30000);
        return;
    }
    const char *form = files[h % 8].name;
    const char *mark = strstr(form, "%u");
    snprintf(name, 96, "%.*s%u%s", (int)(mark - form), form, number, mark + 2);
    *content_type = files[h % 8].type;
    *bytes = (size_t)files[h % 8].kb * (size_t)((h >> 24) % 1800 + 200) + 1;
}

const char *sim_content_category(unsigned n)
{
    static const char *const names[] = {"Red category", "Customer", "Blaue Kategorie", "Срочно",
                                        "Follow-up",    "重要",     "Projects/2026",   "Personal"};
    return names[n % 8];
}
