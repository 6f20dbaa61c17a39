/*
 * dialect.h - how text is marked up on a medium
 *
 * A dialect writes a list of nodes (rich.h) as a medium's own markup. The table
 * tbl/dialects.h is the list: name, what it can show, who uses it. What a dialect cannot
 * show becomes words: a link `text: url` or `text (url)`, a list "• item", an image its link, a heading
 * a line (bold where there is bold).
 *
 * Promise, held by a property test with a reader for every dialect: text of users appears as that text, whatever it
 * holds: never as markup, a mention (@everyone, <!channel>, <at ...>), a link of its own making, or structure. Where
 * a dialect has no way to say a sign literally, the text changes as little as it can, and only where the sign would be
 * read as markup:
 *
 *   U+200B         breaks what needs two signs or a place: ** in WeCom, "# " at the start of a line, @name, <tag, ](
 *   a look-alike   stands for a single sign: U+2217 * U+02CD _ U+223C ~ U+02CB ` U+2223 | U+2216 \ U+FF3B [ U+FF3D ]
 *                  (no invisible sign keeps "*a*" from being bold everywhere)
 *   U+200B         beside our own markers where they would not count: Slack's inside a word, CommonMark's at brackets
 *
 * Names after @ in an author's text are broken like those in data; who wants a mention uses the provider's field for it.
 * A URL in text stays whole: a medium that finds it makes it a link that shows where it goes. Control characters but
 * line feed and tab are never written. Empty lines: as many as in the text where the medium has lines, else one.
 *
 *   plain          nothing (plain-chat: breaks mentions)    wecom-md      WeCom markdown
 *   html           a document fragment: <p> <br> <a> ...    wecom-md2     WeCom robot markdown_v2
 *   html-doc       a whole HTML mail around it              ding-md       DingTalk
 *   matrix-html    Matrix formatted_body                    feishu-md     Feishu / Lark
 *   tg-html        Telegram HTML                            slack-mrkdwn  Slack
 *   tg-mdv2        Telegram MarkdownV2                      gchat         Google Chat
 *   adaptive       Adaptive Card TextBlock                  discord-md    Discord
 *   commonmark     Mattermost, Zulip, Rocket.Chat, Gotify   wa-text       WhatsApp
 *   signal-styled  signal-cli text_mode=styled
 *
 * Threads: pure functions over constant tables.
 */
#ifndef HM_ADAPT_DIALECT_H
#define HM_ADAPT_DIALECT_H

#include "adapt/rich.h"

struct hm_dialect; /* one row */

/* NULL when there is none of this name. */
const struct hm_dialect *hm_dialect_find(struct hm_str name);
const struct hm_dialect *hm_dialect_plain(void);
const char *hm_dialect_name(const struct hm_dialect *d);
uint32_t hm_dialect_shows(const struct hm_dialect *d); /* bit per enum hm_rich_kind it has markup for */
const struct hm_dialect *hm_dialect_at(size_t i);      /* all of them, NULL at the end: docs, tests */

/* Appends the nodes. */
int hm_dialect_write(const struct hm_dialect *d, const struct hm_rich *r, struct hm_buf *out) HM_MUSTCHECK;
/* Appends plain text (a title put into a markdown body) so that it is read as text. */
int hm_dialect_escape(const struct hm_dialect *d, struct hm_str text, struct hm_buf *out) HM_MUSTCHECK;

#endif
