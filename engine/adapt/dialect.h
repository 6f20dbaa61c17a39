/*
 * dialect.h - how text is marked up on a medium
 *
 * A dialect writes a list of nodes (rich.h) as a medium's own markup. The table
 * tbl/dialects.h is the list: name, what it can show, who uses it. What a dialect cannot
 * show becomes words: a link `text: url` or `text (url)`, a list "• item", an image its link, a heading
 * a line (bold where there is bold).
 *
 * Promise, held by a property test per dialect with a reader of that dialect: text of users appears
 * as that text, whatever it holds: never as markup, a mention (@everyone, <!channel>, <at ...>), a link of its own
 * making, or structure. Where a dialect has no way to say a sign literally (slack *, wecom-md **) a U+200B
 * or the like breaks the pattern; that is the only change to the text that is allowed, and only where the
 * pattern would be read as markup.
 *
 *   plain          nothing                                  wecom-md      WeCom markdown
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
const char *hm_dialect_used_by(const struct hm_dialect *d); /* for people: "Slack" */
uint32_t hm_dialect_shows(const struct hm_dialect *d);	    /* bit per enum hm_rich_kind it has markup for */
const struct hm_dialect *hm_dialect_at(size_t i);	    /* all of them, NULL at the end: docs, tests */

/* Appends the nodes. */
int hm_dialect_write(const struct hm_dialect *d, const struct hm_rich *r, struct hm_buf *out) HM_MUSTCHECK;
/* Appends plain text (a title put into a markdown body) so that it is read as text. */
int hm_dialect_escape(const struct hm_dialect *d, struct hm_str text, struct hm_buf *out) HM_MUSTCHECK;

#endif
