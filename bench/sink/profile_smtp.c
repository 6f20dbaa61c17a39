/*
 * profile_smtp.c - a relay, or a provider's submission server (smtp.c speaks the protocol)
 *
 * The id is the mail's X-Hermod-Id, else its Message-ID. The target is the first recipient. Texts begin with the enhanced code of
 * RFC 3463; a row's detail is the stage its answer comes at, and the text.
 */
#include <ctype.h>

#include "worker.h"

static const struct sink_special special[] = {
	{"sink-rcpt-421", "rcpt-421", 421, "rcpt 4.7.28 too many mails, try later"},
	{"sink-rcpt-450", "rcpt-450", 450, "rcpt 4.7.1 greylisted, try again later"},
	{"sink-rcpt-451", "rcpt-451", 451, "rcpt 4.3.0 a local error"},
	{"sink-rcpt-452", "rcpt-452", 452, "rcpt 4.2.2 the mailbox is full"},
	{"sink-rcpt-550", "rcpt-550", 550, "rcpt 5.1.1 no such user here"},
	{"sink-rcpt-551", "rcpt-551", 551, "rcpt 5.1.6 the user has moved"},
	{"sink-rcpt-552", "rcpt-552", 552, "rcpt 5.2.2 the mailbox is full"},
	{"sink-rcpt-553", "rcpt-553", 553, "rcpt 5.1.3 this is not an address"},
	{"sink-rcpt-554", "rcpt-554", 554, "rcpt 5.7.1 relaying is denied"},
	{"sink-data-451", "data-451", 451, "data 4.3.0 a local error"},
	{"sink-data-554", "data-554", 554, "data 5.5.1 no valid recipients"},
	{"sink-end-421", "end-421", 421, "end 4.3.2 going down"},
	{"sink-end-451", "end-451", 451, "end 4.7.0 try again"},
	{"sink-end-452", "end-452", 452, "end 4.3.1 no space"},
	{"sink-end-550", "end-550", 550, "end 5.7.1 this looks like spam"},
	{"sink-end-552", "end-552", 552, "end 5.3.4 the mail is too large"},
	{"sink-end-554", "end-554", 554, "end 5.6.0 this is no mail"},
};

/* Requests come from connections of --smtp alone, never by their path. */
static bool match(struct hm_str method, struct hm_str path)
{
	return false;
}

/* The value of a header field of the mail, without angle brackets. */
static struct hm_str field(struct hm_str mail, const char *name)
{
	size_t n = strlen(name);
	struct hm_str line;

	while (hm_str_split(&mail, '\n', &line)) {
		line = hm_str_trim(line);
		if (line.len == 0)
			break;
		if (line.len <= n || line.p[n] != ':' || !hm_str_ieq(hm_str_n(line.p, n), hm_str_c(name)))
			continue;
		line = hm_str_trim(hm_str_n(line.p + n + 1, line.len - n - 1));
		if (line.len > 2 && line.p[0] == '<' && line.p[line.len - 1] == '>')
			line = hm_str_n(line.p + 1, line.len - 2);
		return line;
	}
	return HM_STR_NULL;
}

static void ids(struct sink_req *r, struct sink_worker *w, struct sink_ids *list)
{
	struct hm_str id;

	r->target = req_header(r, "rcpt-to");
	if (r->body_len == 0)
		return;
	id = field(req_body(r), "x-hermod-id");
	if (id.len == 0)
		id = field(req_body(r), "message-id");
	if (id.len)
		sink_ids_add(list, id, false);
}

static void error(struct sink_req *r, int status)
{
	const char *text = "5.0.0 refused";

	for (size_t i = hm_countof(special); i-- > 0;)
		if (special[i].status == status)
			text = strchr(special[i].detail, ' ') + 1;
	if (status == 429)
		text = "4.7.1 too many mails, slow down";
	else if (status == 413 || status == 431)
		text = "5.3.4 the mail is too large";
	else if (status < 500 && text[0] == '5')
		text = "4.0.0 not now";
	reply_static(r, status, HM_STR_NULL, hm_str_c(text));
}

static void handle(struct sink_req *r, struct sink_worker *w, const struct sink_special *sp,
		   struct sink_ids *list)
{
	if (sp) {
		reply_static(r, sp->status, HM_STR_NULL, hm_str_c(strchr(sp->detail, ' ') + 1));
		return;
	}
	hm_buf_printf(&r->out, "2.0.0 ok, taken as %llx", (unsigned long long)sink_rand(w));
	reply_out(r, 250, HM_STR_NULL);
	r->reply.accepted = true;
}

const struct sink_profile sink_smtp = {
	.name = "smtp",
	.what = "mail of connections to --smtp: STARTTLS, AUTH PLAIN and LOGIN, size; id = X-Hermod-Id, else "
		"Message-ID",
	.target = "first recipient",
	.match = match,
	.ids = ids,
	.handle = handle,
	.error = error,
	.special_lead = "sink-",
	.special = special,
	.n_special = hm_countof(special),
};
