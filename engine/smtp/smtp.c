/*
 * smtp.c - SMTP submission by libcurl
 */
#include "smtp/smtp.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire/curl_loop.h"
#include "wire/wire_int.h"

#define SMTP_MAGIC 0x736d7470u
#define MAIL_MAGIC 0x6d61696cu
#define KEPT_MAILS 64u
#define REPLY_MAX  4096u /* of one reply's text */
#define IDLE_S	   100L	 /* relays close after five minutes, some after two */

enum stage { CONNECT, HELLO, STARTTLS, AUTH, MAIL, RCPT, DATA, END };
static const char *const stage_names[] = {"connect", "hello", "starttls", "auth",
					  "mail",    "rcpt",  "data",	  "end"};

struct smtp {
	uint32_t magic;
	struct hm_origin *origin;
	struct curl_loop loop;
	struct hm_list running, idle; /* mail.call->node; mail.node */
	const char *url;
	struct curl_slist connect_to;
};

struct mail {
	uint32_t magic;
	struct hm_node node;
	struct smtp *smtp;
	struct hm_call *call;
	CURL *h;
	struct curl_slist rcpt;
	struct hm_buf reply; /* of the last command */
	size_t off;	     /* of the body handed over */
	enum stage stage;
	struct curl_guard guard;
	char error[CURL_ERROR_SIZE];
};

/* -- what libcurl tells ------------------------------------------------------------------ */

static size_t on_read(char *out, size_t size, size_t n, void *arg)
{
	struct mail *m = arg;
	struct hm_str body = m->call->body;
	size_t take = hm_min(size * n, body.len - m->off);

	HM_CHECK(m, MAIL_MAGIC);
	if (take)
		memcpy(out, body.p + m->off, take);
	m->off += take;
	if (m->off == body.len && m->stage != END) {
		m->stage = END; /* the reply to come is about the whole mail */
		hm_buf_reset(&m->reply);
	}
	return take;
}

/* Replies, line by line. */
static size_t on_reply(char *p, size_t size, size_t n, void *arg)
{
	struct mail *m = arg;
	struct hm_str line = hm_str_trim(hm_str_n(p, size * n));

	HM_CHECK(m, MAIL_MAGIC);
	if (line.len > 4) {
		if (m->reply.len)
			hm_buf_putc(&m->reply, '\n');
		hm_buf_put(&m->reply, line.p + 4,
			   hm_min(line.len - 4, REPLY_MAX - hm_min((size_t)REPLY_MAX, m->reply.len + 1)));
	}
	return size * n;
}

/* Commands, as they are sent: where we are, and that the reply to the one before is not wanted any more. */
static int on_debug(CURL *h, curl_infotype type, char *p, size_t n, void *arg)
{
	static const struct {
		const char *verb;
		enum stage stage;
	} verbs[] = {{"EHLO", HELLO}, {"HELO", HELLO}, {"STARTTLS", STARTTLS}, {"AUTH", AUTH},
		     {"MAIL", MAIL},  {"RCPT", RCPT},  {"DATA", DATA}};
	struct mail *m = arg;

	HM_CHECK(m, MAIL_MAGIC);
	if (type != CURLINFO_HEADER_OUT)
		return 0;
	hm_buf_reset(&m->reply);
	for (size_t i = 0; i < hm_countof(verbs); i++)
		if (hm_str_starts(hm_str_n(p, n), hm_str_c(verbs[i].verb)))
			m->stage = verbs[i].stage;
	return 0;
}

/* -- one mail ------------------------------------------------------------------------------- */

static void mail_free(struct mail *m)
{
	curl_easy_cleanup(m->h);
	hm_buf_fini(&m->reply);
	HM_MAGIC_CLEAR(m);
	free(m);
}

static struct mail *mail_get(struct smtp *s)
{
	struct hm_node *n = hm_list_pop(&s->idle);
	struct mail *m;

	if (n)
		return hm_container_of(n, struct mail, node);
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return NULL;
	m->h = curl_easy_init();
	if (m->h == NULL) {
		free(m);
		return NULL;
	}
	HM_MAGIC_SET(m, MAIL_MAGIC);
	m->smtp = s;
	hm_buf_init(&m->reply, 2 * REPLY_MAX);
	return m;
}

static void mail_put(struct mail *m)
{
	m->call = NULL;
	if (m->smtp->idle.len >= KEPT_MAILS) {
		mail_free(m);
		return;
	}
	curl_easy_reset(m->h);
	hm_list_push_front(&m->smtp->idle, &m->node);
}

static struct hm_str field(const struct hm_call *c, const char *name)
{
	for (size_t i = 0; i < c->n_headers; i++)
		if (hm_str_is(c->headers[i].name, name))
			return c->headers[i].value;
	return HM_STR_NULL;
}

static bool set_login(struct mail *m, const struct hm_call *c)
{
	const struct hm_origin_opts *o = &c->origin->opts;
	struct hm_str user = hm_origin_session(o, "user"), password = hm_origin_session(o, "password");
	struct hm_str auth = hm_origin_session(o, "auth"), bearer = field(c, "bearer");
	CURL *h = m->h;

	if (user.len && curl_easy_setopt(h, CURLOPT_USERNAME, user.p) != CURLE_OK)
		return false;
	if (bearer.len == 0 && hm_str_is(auth, "XOAUTH2"))
		bearer = password;
	if (bearer.len) {
		const char *token = hm_arena_strdup(c->arena, bearer);

		if (token == NULL || curl_easy_setopt(h, CURLOPT_XOAUTH2_BEARER, token) != CURLE_OK)
			return false;
	} else if (password.len && curl_easy_setopt(h, CURLOPT_PASSWORD, password.p) != CURLE_OK) {
		return false;
	}
	if (auth.len) {
		struct hm_str s = hm_arena_printf(c->arena, "AUTH=%.*s", HM_STRF(auth));

		return s.p && curl_easy_setopt(h, CURLOPT_LOGIN_OPTIONS, s.p) == CURLE_OK;
	}
	return true;
}

/* libcurl itself writes the brackets. */
static bool set_envelope(struct mail *m, const struct hm_call *c)
{
	struct hm_str from = hm_arena_printf(c->arena, "<%.*s>", HM_STRF(field(c, "mail-from")));
	struct hm_str to = hm_arena_printf(c->arena, "<%.*s>", HM_STRF(field(c, "rcpt-to")));

	m->rcpt = (struct curl_slist){.data = (char *)(uintptr_t)to.p};
	return from.p && to.p && curl_easy_setopt(m->h, CURLOPT_MAIL_FROM, from.p) == CURLE_OK &&
	       curl_easy_setopt(m->h, CURLOPT_MAIL_RCPT, &m->rcpt) == CURLE_OK;
}

static bool set_up(struct mail *m, const struct hm_call *c)
{
	const struct hm_origin *o = c->origin;
	struct hm_str starttls = hm_origin_session(&o->opts, "starttls");
	CURL *h = m->h;

	curl_easy_setopt(h, CURLOPT_PRIVATE, m);
	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, m->error);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(h, CURLOPT_SHARE, m->smtp->loop.share);
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)o->wire->opts.connect_timeout_ms);
	curl_easy_setopt(h, CURLOPT_MAXAGE_CONN, IDLE_S);
	curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(h, CURLOPT_PROXY, o->opts.proxy.len ? o->opts.proxy.p : "");
	curl_easy_setopt(h, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(h, CURLOPT_INFILESIZE_LARGE, (curl_off_t)c->body.len); /* SIZE= on MAIL, RFC 1870 */
	curl_easy_setopt(h, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(h, CURLOPT_READDATA, m);
	curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_reply);
	curl_easy_setopt(h, CURLOPT_HEADERDATA, m);
	curl_easy_setopt(h, CURLOPT_VERBOSE, 1L);
	curl_easy_setopt(h, CURLOPT_DEBUGFUNCTION, on_debug);
	curl_easy_setopt(h, CURLOPT_DEBUGDATA, m);
	if (!o->opts.tls && !hm_str_is(starttls, "no"))
		curl_easy_setopt(h, CURLOPT_USE_SSL,
				 hm_str_is(starttls, "try") ? (long)CURLUSESSL_TRY : (long)CURLUSESSL_ALL);
	m->guard = (struct curl_guard){.loop = &m->smtp->loop,
				       .deny_private = o->opts.deny_private && o->opts.proxy.len == 0 &&
						       o->opts.connect_to.len == 0};
	curl_loop_guard(h, &m->guard);
	if (m->smtp->connect_to.data &&
	    curl_easy_setopt(h, CURLOPT_CONNECT_TO, &m->smtp->connect_to) != CURLE_OK)
		return false;
	if (o->dial_unix.len && curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, o->dial_unix.p) != CURLE_OK)
		return false;
	return curl_easy_setopt(h, CURLOPT_URL, m->smtp->url) == CURLE_OK && set_login(m, c) &&
	       set_envelope(m, c) && curl_loop_tls(h, o);
}

static void start(struct smtp *s, struct hm_call *c)
{
	struct mail *m;

	if (field(c, "rcpt-to").len == 0 || c->body.len == 0) {
		call_finish(c, HM_FATE_NOT_SENT, HM_EINVAL, "a mail needs a recipient (rcpt-to) and a body");
		return;
	}
	m = mail_get(s);
	if (m == NULL) {
		call_finish(c, HM_FATE_NOT_SENT, HM_ENOMEM, "out of memory");
		return;
	}
	m->call = c;
	m->off = 0;
	m->stage = CONNECT;
	m->error[0] = '\0';
	hm_buf_reset(&m->reply);
	if (!set_up(m, c) || curl_multi_add_handle(s->loop.multi, m->h) != CURLM_OK) {
		mail_put(m);
		call_finish(c, HM_FATE_NOT_SENT, HM_ENOMEM, "out of memory");
		return;
	}
	c->state = CALL_DRIVER;
	c->driver = m;
	hm_list_push(&s->running, &c->node);
}

/* -- the end of one ------------------------------------------------------------------------------ */

/* "5.1.1 user unknown": the code at the front (RFC 3463). */
static struct hm_str enhanced(struct hm_str text)
{
	size_t n = 0, dots = 0;

	while (n < text.len && n < 11 && (isdigit((unsigned char)text.p[n]) || (text.p[n] == '.' && n > 0)))
		dots += text.p[n++] == '.';
	return dots == 2 && n > 4 && strchr("245", text.p[0]) &&
			       (n == text.len || text.p[n] == ' ' || text.p[n] == '\n')
		       ? hm_str_n(text.p, n)
		       : HM_STR_NULL;
}

static void answered(struct mail *m, struct hm_call *c, long status)
{
	struct hm_str text = hm_buf_str(&m->reply), code = enhanced(text);
	struct hm_header *v = hm_arena_alloc(c->arena, 2 * sizeof(*v));

	c->status = (int)status;
	if (v != NULL) {
		v[0] = (struct hm_header){.name = HM_STR("stage"), .value = hm_str_c(stage_names[m->stage])};
		v[1] = (struct hm_header){.name = HM_STR("enhanced"), .value = hm_arena_str(c->arena, code)};
		c->answer_headers = v;
		c->n_answer_headers = code.len ? 2 : 1;
	}
	c->answer_cut |= !call_append(c, text.p, text.len);
	call_answered(c);
}

static void finish(struct mail *m, CURLcode rc)
{
	struct hm_call *c = m->call;
	long status = 0, connects = 0;
	const char *name = c->origin->name.p;

	curl_easy_getinfo(m->h, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(m->h, CURLINFO_NUM_CONNECTS, &connects);
	hm_list_remove(&m->smtp->running, &c->node);
	if (rc == CURLE_OK && status >= 200 && status < 300) {
		answered(m, c, status);
		return;
	}
	/* A reply that refuses is an answer, whatever libcurl makes of it. */
	if (rc != CURLE_OK && status >= 400 && status < 600) {
		if (m->stage <= AUTH) {
			struct hm_err why = {0};

			hm_err_set(&why, HM_EPROTO, "%s: %ld %.*s", name, status,
				   HM_STRF(hm_buf_str(&m->reply)));
			origin_note(c->origin, &why);
		}
		answered(m, c, status);
		return;
	}
	if (m->guard.denied)
		call_finish(c, HM_FATE_NOT_SENT, HM_EPERM, "'%s' is a private address and not allowed here",
			    c->origin->opts.host.p);
	else if (m->stage < END && connects == 0 && curl_loop_error(rc) == HM_ECLOSED)
		call_again(c, HM_ECLOSED, "the relay closed the connection");
	else
		call_finish(c, m->stage == END ? HM_FATE_MAYBE : HM_FATE_NOT_SENT, curl_loop_error(rc),
			    "%s: %s (%s)", name, m->error[0] ? m->error : curl_easy_strerror(rc),
			    stage_names[m->stage]);
	if (c->err.code)
		origin_note(c->origin, &c->err);
}

static void on_done(struct curl_loop *l, CURL *h, CURLcode rc)
{
	struct hm_origin *o;
	struct mail *m;
	char *p;

	curl_easy_getinfo(h, CURLINFO_PRIVATE, &p);
	m = (struct mail *)(void *)p;
	HM_CHECK(m, MAIL_MAGIC);
	o = m->smtp->origin;
	finish(m, rc);
	curl_multi_remove_handle(l->multi, h);
	mail_put(m);
	origin_pump_later(o);
}

static bool drop(struct hm_call *c)
{
	struct mail *m = c->driver;
	bool maybe = m->stage == END;

	HM_CHECK(m, MAIL_MAGIC);
	hm_list_remove(&m->smtp->running, &c->node);
	curl_multi_remove_handle(m->smtp->loop.multi, m->h);
	mail_put(m);
	return maybe;
}

/* -- the origin -------------------------------------------------------------------------------------- */

static int check_session(const struct hm_origin_opts *o, struct hm_err *e)
{
	struct hm_str starttls = hm_origin_session(o, "starttls");

	if (starttls.len && !hm_str_is(starttls, "required") && !hm_str_is(starttls, "try") &&
	    !hm_str_is(starttls, "no"))
		return hm_err_set(e, HM_EINVAL, "starttls must be required, try or no");
	if (hm_origin_session(o, "password").len && hm_origin_session(o, "user").len == 0)
		return hm_err_set(e, HM_EINVAL, "there is a password but no user");
	return 0;
}

static int open_(struct hm_origin *o, struct hm_err *e)
{
	struct hm_arena *a = &o->wire->strings;
	struct hm_str helo = hm_origin_session(&o->opts, "helo"), url, to;
	bool v6 = hm_str_chr(o->dial_host, ':') >= 0;
	struct smtp *s;
	int rc;

	if ((rc = check_session(&o->opts, e)) != 0)
		return rc;
	url = hm_arena_printf(a, "%.*s/%.*s", HM_STRF(o->name), HM_STRF(helo));
	to = o->opts.connect_to.len && o->dial_unix.len == 0
		     ? hm_arena_printf(a, v6 ? "::[%.*s]:%u" : "::%.*s:%u", HM_STRF(o->dial_host),
				       o->dial_port)
		     : HM_STR("");
	s = calloc(1, sizeof(*s));
	if (url.p == NULL || to.p == NULL || s == NULL ||
	    !curl_loop_init(&s->loop, o->wire->tick, (long)o->opts.max_connections, on_done)) {
		free(s);
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	}
	HM_MAGIC_SET(s, SMTP_MAGIC);
	s->origin = o;
	s->url = url.p;
	if (to.len)
		s->connect_to.data = (char *)(uintptr_t)to.p;
	hm_list_init(&s->running);
	hm_list_init(&s->idle);
	o->driver = s;
	o->wire->sessions++;
	return 0;
}

static size_t room(const struct hm_origin *o, bool urgent)
{
	const struct smtp *s = o->driver;
	size_t most = o->opts.max_connections;

	if (!urgent)
		most -= origin_reserve((uint32_t)most);
	return most > s->running.len ? most - s->running.len : 0;
}

static void pump(struct hm_origin *o)
{
	struct smtp *s = o->driver;

	HM_CHECK(s, SMTP_MAGIC);
	if (o->wire->closing)
		return;
	while (!hm_list_empty(&o->urgent) && room(o, true))
		start(s, origin_next(o, true));
	while (!hm_list_empty(&o->normal) && room(o, false))
		start(s, origin_next(o, false));
}

static void on_closed(struct curl_loop *l)
{
	struct smtp *s = hm_container_of(l, struct smtp, loop);
	struct hm_wire *w = s->origin->wire;

	HM_CHECK(s, SMTP_MAGIC);
	w->sessions--;
	wire_maybe_closed(w);
}

static void close_(struct hm_origin *o)
{
	struct smtp *s = o->driver;

	HM_CHECK(s, SMTP_MAGIC);
	while (!hm_list_empty(&s->idle))
		mail_free(hm_container_of(hm_list_pop(&s->idle), struct mail, node));
	curl_loop_close(&s->loop, on_closed);
}

static void fini(struct hm_origin *o)
{
	struct smtp *s = o->driver;

	HM_CHECK(s, SMTP_MAGIC);
	HM_MAGIC_CLEAR(s);
	free(s);
	o->driver = NULL;
}

static void describe(const struct hm_origin *o, struct hm_buf *out)
{
	const struct smtp *s = o->driver;

	hm_buf_printf(out, ",\"in_flight\":%zu", s->running.len);
}

const struct hm_driver_ops hm_smtp_driver = {
	.protocol = HM_PROTO_SMTP,
	.open = open_,
	.pump = pump,
	.room = room,
	.drop = drop,
	.close = close_,
	.fini = fini,
	.describe = describe,
};
