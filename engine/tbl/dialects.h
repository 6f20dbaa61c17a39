/*
 * HM_DIALECT(ID, "name", layout, bold, italic, code, link, bare, schemes, heading, hmin, hmax, list, image, brk,
 *            flank, flags, text, code_text, names, start, slash, "used by")
 *
 *   layout   LINES: line breaks and signs; BLOCKS: <p>, <ul>, ...
 *   bold, italic, code: the markers as MARK("open", "close"), or NONE: the words alone
 *   link     WORDS "text: url", MARKDOWN [text](url), ANGLE <url|text>, TAG <a href>
 *   bare     RAW: the medium finds URLs in text by itself; MARKED: written like a link whose text is the URL
 *   schemes  what a link may go to there, others are words: ANY, WEB (http https), MAIL (web and mailto)
 *   heading  LINE, BOLD (a line in bold), HASH (# signs from hmin to hmax), TAG
 *   list     DOT ("• " "1. "), SIGN ("- " "1. " and two blanks a level), TAG
 *   image    LINK (a link to it), SIGN ![alt](url), TAG
 *   brk      a line break; a paragraph is always an empty line
 *   flank    where a marker counts: FREE anywhere, MARKS by CommonMark's rule, EDGES only at the edge of a word. A
 *            U+200B makes it count elsewhere
 *   text, code_text: the care bytes need, in words and inside code (adapt/dialect_text.c)
 *   names    words after "@" that call somebody (NULL: any, where the table cares for "@" at all)
 *   start    signs that make a block at the start of a line, 1 for a number; slash: a backslash disarms them
 *   flags    SPANS_LINE: bold and the like end with the line; FLAT: no markup inside markup; DOC: a whole document;
 *            NO_P: no <p> around a text that is only a paragraph; URL_FIRST: what a URL holds is never markup
 *   used by  for readers of this table
 * Source: the providers' documentation; what is known from use only is marked [use].
 */
/* clang-format off */
HM_DIALECT(PLAIN, "plain", LINES, NONE, NONE, NONE, WORDS, RAW, ANY, LINE, 0, 0, DOT, LINK, "\n", FREE, 0,
	hm_text_plain, hm_text_plain, NULL, NULL, 0,
	"text messages, push, the text part of a mail, everything without markup")
/* text that chats still search for mentions: <at ...>, <@user>, @name */
HM_DIALECT(PLAIN_CHAT, "plain-chat", LINES, NONE, NONE, NONE, WORDS, RAW, ANY, LINE, 0, 0, DOT, LINK, "\n", FREE, 0,
	hm_text_plain_chat, hm_text_plain_chat, NULL, NULL, 0,
	"text messages of WeCom robots, Feishu, Telegram without parse_mode")
HM_DIALECT(HTML, "html", BLOCKS, MARK("<strong>", "</strong>"), MARK("<em>", "</em>"), MARK("<code>", "</code>"), TAG, MARKED, ANY, TAG, 1, 6, TAG, TAG, "<br>", FREE, 0,
	hm_text_html, hm_text_html, NULL, NULL, 0,
	"in-app messages, PushPlus, parts of mails")
HM_DIALECT(HTML_DOC, "html-doc", BLOCKS, MARK("<strong>", "</strong>"), MARK("<em>", "</em>"), MARK("<code>", "</code>"), TAG, MARKED, ANY, TAG, 1, 6, TAG, TAG, "<br>", FREE, DOC,
	hm_text_html, hm_text_html, NULL, NULL, 0,
	"mail")
/* images only from mxc:, link schemes of the allow list; @room is read in the plain body, see m.mentions */
HM_DIALECT(MATRIX_HTML, "matrix-html", BLOCKS, MARK("<strong>", "</strong>"), MARK("<em>", "</em>"), MARK("<code>", "</code>"), TAG, MARKED, MAIL, TAG, 1, 6, TAG, LINK, "<br>", FREE, NO_P,
	hm_text_matrix, hm_text_matrix, room, NULL, 0,
	"Matrix formatted_body")
/* links to anything but http(s) and tg: are not made by the server [use]; names after @ become mentions in every mode */
HM_DIALECT(TG_HTML, "tg-html", LINES, MARK("<b>", "</b>"), MARK("<i>", "</i>"), MARK("<code>", "</code>"), TAG, RAW, WEB, BOLD, 0, 0, DOT, LINK, "\n", FREE, 0,
	hm_text_tg_html, hm_code_html, NULL, NULL, 0,
	"Telegram parse_mode HTML")
HM_DIALECT(TG_MDV2, "tg-mdv2", LINES, MARK("*", "*"), MARK("_", "_"), MARK("`", "`"), MARKDOWN, RAW, WEB, BOLD, 0, 0, DOT, LINK, "\n", FREE, 0,
	hm_text_tg_mdv2, hm_code_tg_mdv2, NULL, NULL, 0,
	"Telegram parse_mode MarkdownV2")
/* no way to escape is documented */
HM_DIALECT(WECOM_MD, "wecom-md", LINES, MARK("**", "**"), NONE, MARK("`", "`"), MARKDOWN, MARKED, ANY, HASH, 1, 6, DOT, LINK, "\n", FREE, SPANS_LINE,
	hm_text_wecom_md, hm_text_wecom_md, NULL, "#>", 0,
	"WeCom app and robot markdown")
/* the whole row [use]: markdown_v2 is documented by its announcement only */
HM_DIALECT(WECOM_MD2, "wecom-md2", LINES, MARK("**", "**"), MARK("*", "*"), MARK("`", "`"), MARKDOWN, MARKED, ANY, HASH, 1, 6, SIGN, SIGN, "\n", MARKS, SPANS_LINE,
	hm_text_wecom_md2, hm_code_twin, NULL, "#>+-=|:1*", 1,
	"WeCom robot markdown_v2")
/* no way to escape is documented; a line break needs two blanks before it */
HM_DIALECT(DING_MD, "ding-md", LINES, MARK("**", "**"), MARK("*", "*"), NONE, MARKDOWN, MARKED, ANY, HASH, 1, 6, SIGN, SIGN, "  \n", MARKS, SPANS_LINE,
	hm_text_ding_md, hm_text_ding_md, NULL, "#>+-=|:1*", 0,
	"DingTalk robot, work notice, bot")
/* headings look right from level 4 down; images go by key, not by URL */
HM_DIALECT(FEISHU_MD, "feishu-md", LINES, MARK("**", "**"), MARK("*", "*"), NONE, MARKDOWN, MARKED, ANY, HASH, 4, 6, SIGN, LINK, "\n", MARKS, SPANS_LINE,
	hm_text_feishu_md, hm_text_feishu_md, NULL, "#>+-=|:1*", 0,
	"Feishu and Lark cards: markdown, lark_md, post md")
HM_DIALECT(SLACK, "slack-mrkdwn", LINES, MARK("*", "*"), MARK("_", "_"), MARK("`", "`"), ANGLE, MARKED, ANY, BOLD, 0, 0, DOT, LINK, "\n", EDGES, SPANS_LINE,
	hm_text_slack, hm_code_slack, everyone, ">", 0,
	"Slack")
/* escaping as Slack [use] */
HM_DIALECT(GCHAT, "gchat", LINES, MARK("*", "*"), MARK("_", "_"), MARK("`", "`"), ANGLE, RAW, ANY, BOLD, 0, 0, SIGN, LINK, "\n", EDGES, SPANS_LINE,
	hm_text_gchat, hm_code_slack, NULL, "*->", 0,
	"Google Chat text")
/* the request says allowed_mentions as well; a link whose text looks like a URL is not made [use] */
HM_DIALECT(DISCORD, "discord-md", LINES, MARK("**", "**"), MARK("*", "*"), MARK("`", "`"), MARKDOWN, RAW, WEB, HASH, 1, 3, SIGN, LINK, "\n", MARKS, SPANS_LINE | URL_FIRST,
	hm_text_discord, hm_code_twin, everyone, "#>+-1*", 1,
	"Discord")
/* no way to escape is documented; a line break is an empty line [use] */
HM_DIALECT(ADAPTIVE, "adaptive", LINES, MARK("**", "**"), MARK("*", "*"), NONE, MARKDOWN, MARKED, ANY, BOLD, 0, 0, SIGN, LINK, "\n\n", MARKS, SPANS_LINE,
	hm_text_adaptive, hm_text_adaptive, NULL, "#>+-=|:1*", 0,
	"Teams: Adaptive Card TextBlock")
/* what Mattermost, Zulip, Rocket.Chat and Gotify have in common; escapes python-markdown does not know become U+200B */
HM_DIALECT(COMMONMARK, "commonmark", LINES, MARK("**", "**"), MARK("*", "*"), MARK("`", "`"), MARKDOWN, RAW, ANY, HASH, 1, 6, SIGN, SIGN, "  \n", MARKS, SPANS_LINE,
	hm_text_commonmark, hm_code_twin, NULL, "#>+-=|:/1*", 1,
	"Mattermost, Zulip, Rocket.Chat, Gotify, ServerChan")
HM_DIALECT(WA_TEXT, "wa-text", LINES, MARK("*", "*"), MARK("_", "_"), MARK("```", "```"), WORDS, RAW, ANY, BOLD, 0, 0, DOT, LINK, "\n", EDGES, SPANS_LINE,
	hm_text_wa, hm_code_twin, NULL, ">-1*", 0,
	"WhatsApp text")
/* releases of the gateway escape with none, two, or one backslash: look-alikes instead. Styles do not nest */
HM_DIALECT(SIGNAL, "signal-styled", LINES, MARK("**", "**"), MARK("*", "*"), MARK("`", "`"), WORDS, RAW, ANY, BOLD, 0, 0, DOT, LINK, "\n", FREE, SPANS_LINE | FLAT,
	hm_text_signal, hm_text_signal, NULL, NULL, 0,
	"signal-cli REST gateway, text_mode styled")
/* clang-format on */
