/*
 * smtp.c - the sink as a mail server: RFC 5321 with PIPELINING (2920), SIZE (1870), 8BITMIME, STARTTLS (3207) and
 * AUTH PLAIN and LOGIN (4954)
 *
 *   HELLO --EHLO--> READY --MAIL--> MAIL --RCPT--> RCPT --DATA--> DATA --dot--> READY
 *
 * A mail is one request of profile smtp: method SEND, path /mail/<first recipient>, headers helo, mail-from, rcpt-to (each), auth;
 * the body is the mail with its dots unstuffed. Its script is taken when the first recipient is known, so that its header `stage`
 * can say where the answer comes: rcpt, data or (default) end, behind the final dot. A special recipient's row has its stage too.
 * Replies leave in order: while an answer is late, what follows it waits unread.
 *
 * Limits: a command line of 2 KiB, a line of text of any length up to --max-body for all of them, 60 recipients, 20 wrong commands,
 * 1 MiB of pipelined input behind a late answer.
 */
#include "smtp.h"

#include <stdlib.h>

#include "script.h"

#define LINE_MAX_  2048u
#define CHUNK	   (64u << 10) /* of a line of text, taken before its end is seen */
#define INPUT_MAX  (1u << 20)
#define PAUSE_AT   (64u << 10) /* replies not yet written: the rest of the input waits */
#define RCPT_MAX   60u	       /* RFC 5321 wants 100; a request here has 64 headers */
#define WRONG_MAX  20u
#define HELO_MAX   255u
#define PATH_MAX_  320u /* an address; RFC 5321 has 254 */
#define FILL_CHUNK 4096u

enum stage { STAGE_RCPT, STAGE_DATA, STAGE_END };
enum smtp_state {
	SMTP_HELLO,
	SMTP_READY,
	SMTP_MAIL,
	SMTP_RCPT,
	SMTP_DATA,
	SMTP_AUTH_PLAIN,
	SMTP_AUTH_USER,
	SMTP_AUTH_PASSWORD
};

struct smtp {
#define SMTP_SINK_MAGIC 0x51ab0010u
	uint32_t magic;
	enum smtp_state state;
	bool authed, pumping;
	bool waiting;	      /* the answer of `req` is not decided, or late */
	bool middle;	      /* of a line of text: its beginning was taken already */
	bool quit;	      /* after this reply the connection ends */
	struct sink_req *req; /* MAIL with a recipient, and later */
	struct sink_req *answering;
	struct hm_buf in;   /* not yet understood */
	struct hm_buf line; /* the reply of `answering` */
	size_t line_sent;
	uint64_t fill; /* bytes of filler that belong behind it */
	unsigned n_rcpt, wrong;
	enum stage stage;
	size_t helo_len, from_len, user_len;
	char helo[HELO_MAX], from[PATH_MAX_], user[HELO_MAX];
};

static struct smtp *session(struct sink_conn *c)
{
	struct smtp *s = c->session;

	HM_CHECK(s, SMTP_SINK_MAGIC);
	return s;
}

static void say(struct sink_conn *c, const char *line)
{
	hm_buf_puts(&c->raw, hm_str_c(line));
	hm_buf_lit(&c->raw, "\r\n");
	conn_touch(c);
}

static void wrong(struct sink_conn *c, const char *line)
{
	struct smtp *s = session(c);

	say(c, line);
	if (++s->wrong < WRONG_MAX)
		return;
	say(c, "421 4.7.0 too many wrong commands, good bye");
	s->quit = true;
}

bool smtp_start(struct sink_conn *c)
{
	struct smtp *s = calloc(1, sizeof(*s));

	if (!s)
		return false;
	HM_MAGIC_SET(s, SMTP_SINK_MAGIC);
	hm_buf_init(&s->in, INPUT_MAX + WORKER_READ);
	hm_buf_init(&s->line, 16u << 20);
	c->session = s;
	say(c, "220 sink.test ESMTP hermod-sink");
	return true;
}

void smtp_free(struct sink_conn *c)
{
	struct smtp *s = session(c);

	hm_buf_fini(&s->in);
	hm_buf_fini(&s->line);
	HM_MAGIC_CLEAR(s);
	free(s);
	c->session = NULL;
}

/* -- a mail as a request ----------------------------------------------------------- */

static struct sink_req *new_mail(struct sink_conn *c, struct hm_str rcpt)
{
	struct smtp *s = session(c);
	struct sink_req *r = req_new(c->worker, c);

	if (!r)
		return NULL;
	r->keep_alive = true;
	r->method_len = 4;
	r->path = 4;
	if (req_put(r, "SEND/mail/", 10, SINK_MAX_HEAD) && req_put(r, rcpt.p, rcpt.len, SINK_MAX_HEAD)) {
		r->path_len = (uint32_t)r->data.len - r->path;
		if (req_put_header(r, "helo", hm_str_n(s->helo, s->helo_len)) &&
		    req_put_header(r, "mail-from", hm_str_n(s->from, s->from_len)) &&
		    (!s->user_len || req_put_header(r, "auth", hm_str_n(s->user, s->user_len))))
			return r;
	}
	req_free(r);
	return NULL;
}

static void decide_now(struct sink_conn *c, enum stage at)
{
	struct smtp *s = session(c);

	s->stage = at;
	s->waiting = true;
	c->requests++;
	answer_request(s->req);
}

/* Where the answer to this mail comes, by its script or by who it is for. */
static enum stage stage_of(struct sink_req *r, struct hm_str rcpt)
{
	const struct sink_special *sp;
	struct hm_str stage;

	request_script(r, rcpt);
	if (r->script) {
		stage = script_header(r->script, "stage");
	} else {
		sp = sink_special_for(PROFILE_smtp, rcpt, r->conn->worker);
		stage = sp ? hm_str_n(sp->detail, strcspn(sp->detail, " ")) : HM_STR_NULL;
	}
	return hm_str_is(stage, "rcpt") ? STAGE_RCPT : hm_str_is(stage, "data") ? STAGE_DATA : STAGE_END;
}

static void end_mail(struct smtp *s)
{
	if (s->req)
		req_free(s->req);
	s->req = NULL;
	s->n_rcpt = 0;
	s->from_len = 0;
	s->middle = false;
}

/* -- commands ---------------------------------------------------------------------- */

/* "FROM:<a@b> SIZE=12": the address and what follows; false when it is none. */
static bool take_path(struct hm_str arg, const char *word, struct hm_str *path_r, struct hm_str *rest_r)
{
	size_t n = strlen(word);
	ptrdiff_t end;

	if (arg.len < n || !hm_str_ieq(hm_str_n(arg.p, n), hm_str_c(word)))
		return false;
	arg = hm_str_trim(hm_str_n(arg.p + n, arg.len - n));
	if (arg.len < 2 || arg.p[0] != '<' || (end = hm_str_chr(arg, '>')) < 0)
		return false;
	*path_r = hm_str_n(arg.p + 1, (size_t)end - 1);
	*rest_r = hm_str_trim(hm_str_n(arg.p + end + 1, arg.len - (size_t)end - 1));
	return path_r->len < PATH_MAX_;
}

static void on_hello(struct sink_conn *c, struct hm_str arg, bool extended)
{
	struct smtp *s = session(c);

	end_mail(s);
	s->state = SMTP_READY;
	s->helo_len = hm_min(arg.len, (size_t)HELO_MAX);
	memcpy(s->helo, arg.p ? arg.p : "", s->helo_len);
	if (!extended) {
		say(c, "250 sink.test");
		return;
	}
	hm_buf_printf(&c->raw,
		      "250-sink.test\r\n250-PIPELINING\r\n250-SIZE "
		      "%llu\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n",
		      (unsigned long long)c->worker->sink->options->max_body);
	if (!c->ssl && c->worker->sink->tls)
		hm_buf_lit(&c->raw, "250-STARTTLS\r\n");
	say(c, "250 AUTH PLAIN LOGIN");
}

static void on_mail(struct sink_conn *c, struct hm_str arg)
{
	struct smtp *s = session(c);
	struct hm_str path, rest, word;
	uint64_t size;

	if (s->state != SMTP_READY) {
		wrong(c,
		      s->state == SMTP_HELLO ? "503 5.5.1 say EHLO first" : "503 5.5.1 a mail is under way");
		return;
	}
	if (c->worker->sink->options->smtp_user.n && !s->authed) {
		say(c, "530 5.7.0 log in first");
		return;
	}
	if (!take_path(arg, "FROM:", &path, &rest)) {
		wrong(c, "501 5.5.4 expected MAIL FROM:<address>");
		return;
	}
	while (hm_str_split(&rest, ' ', &word))
		if (hm_str_starts(word, HM_STR("SIZE=")) &&
		    hm_str_u64(hm_str_n(word.p + 5, word.len - 5), &size) &&
		    size > c->worker->sink->options->max_body) {
			say(c, "552 5.3.4 the mail is too large");
			return;
		}
	memcpy(s->from, path.p, path.len);
	s->from_len = path.len;
	s->state = SMTP_MAIL;
	say(c, "250 2.1.0 ok");
}

static void on_rcpt(struct sink_conn *c, struct hm_str arg)
{
	struct smtp *s = session(c);
	struct hm_str path, rest;
	const struct sink_special *sp;

	if (s->state != SMTP_MAIL && s->state != SMTP_RCPT) {
		wrong(c, "503 5.5.1 MAIL comes first");
		return;
	}
	if (!take_path(arg, "TO:", &path, &rest) || path.len == 0) {
		wrong(c, "501 5.5.4 expected RCPT TO:<address>");
		return;
	}
	if (s->n_rcpt == RCPT_MAX) {
		say(c, "452 4.5.3 too many recipients");
		return;
	}
	if (s->req) { /* a further one: it can be refused by itself */
		sp = sink_special_for(PROFILE_smtp, path, c->worker);
		if (sp && strncmp(sp->detail, "rcpt ", 5) == 0) {
			hm_buf_printf(&c->raw, "%d %s\r\n", sp->status, sp->detail + 5);
			return;
		}
	} else {
		s->req = new_mail(c, path);
	}
	if (!s->req || !req_put_header(s->req, "rcpt-to", path)) {
		say(c, "452 4.3.1 no memory for more");
		return;
	}
	if (s->n_rcpt == 0) {
		s->stage = stage_of(s->req, path);
		if (s->stage == STAGE_RCPT) {
			decide_now(c, STAGE_RCPT);
			return;
		}
	}
	s->n_rcpt++;
	s->state = SMTP_RCPT;
	say(c, "250 2.1.5 ok");
}

static void on_data(struct sink_conn *c)
{
	struct smtp *s = session(c);

	if (s->state != SMTP_RCPT) {
		wrong(c, s->state == SMTP_MAIL ? "554 5.5.1 there is no recipient"
					       : "503 5.5.1 MAIL and RCPT come first");
		return;
	}
	if (s->stage == STAGE_DATA) {
		decide_now(c, STAGE_DATA);
		return;
	}
	s->req->body = (uint32_t)s->req->data.len;
	s->state = SMTP_DATA;
	s->middle = false;
	say(c, "354 end with a dot");
}

/* -- logging in --------------------------------------------------------------------- */

static void log_in(struct sink_conn *c, struct hm_str user, struct hm_str password)
{
	struct smtp *s = session(c);
	const struct opt_list *known = &c->worker->sink->options->smtp_user;
	bool good = known->n == 0;

	for (size_t i = 0; i < known->n; i++) {
		struct hm_str rest = hm_str_c(known->v[i]), name;

		good |= hm_str_split(&rest, ':', &name) && hm_str_eq(name, user) && hm_str_eq(rest, password);
	}
	s->state = SMTP_READY;
	if (!good) {
		s->user_len = 0;
		say(c, "535 5.7.8 user or password are wrong");
		return;
	}
	s->authed = true;
	s->user_len = hm_min(user.len, (size_t)HELO_MAX);
	memmove(s->user, user.p, s->user_len);
	say(c, "235 2.7.0 welcome");
}

/* What a client says in base64; the scratch buffer has it until the next request. */
static bool decode(struct sink_conn *c, struct hm_str arg, struct hm_str *v_r)
{
	struct hm_buf *b = &c->worker->scratch;

	hm_buf_reset(b);
	if (hm_str_is(arg, "*") || !hm_buf_unbase64(b, arg) || b->err) {
		session(c)->state = SMTP_READY;
		wrong(c, "501 5.5.2 this is not base64");
		return false;
	}
	*v_r = b->len ? hm_buf_str(b) : HM_STR("");
	return true;
}

static void auth_step(struct sink_conn *c, struct hm_str arg)
{
	struct smtp *s = session(c);
	struct hm_str v, part, user;

	if (!decode(c, arg, &v))
		return;
	switch (s->state) {
	case SMTP_AUTH_PLAIN: /* whose rights NUL who NUL password */
		if (hm_str_split(&v, '\0', &part) && hm_str_split(&v, '\0', &user))
			log_in(c, user, v);
		else
			log_in(c, HM_STR(""), HM_STR(""));
		return;
	case SMTP_AUTH_USER:
		s->user_len = hm_min(v.len, (size_t)HELO_MAX);
		memcpy(s->user, v.p, s->user_len);
		s->state = SMTP_AUTH_PASSWORD;
		say(c, "334 UGFzc3dvcmQ6");
		return;
	case SMTP_AUTH_PASSWORD: log_in(c, hm_str_n(s->user, s->user_len), v); return;
	case SMTP_HELLO:
	case SMTP_READY:
	case SMTP_MAIL:
	case SMTP_RCPT:
	case SMTP_DATA: break;
	}
	hm_unreachable();
}

static void on_auth(struct sink_conn *c, struct hm_str arg)
{
	struct smtp *s = session(c);
	struct hm_str mechanism = arg;
	bool more = hm_str_split(&arg, ' ', &mechanism) && arg.len;

	if (s->state != SMTP_READY || s->authed) {
		wrong(c, "503 5.5.1 not now");
	} else if (hm_str_ieq(mechanism, HM_STR("PLAIN"))) {
		s->state = SMTP_AUTH_PLAIN;
		if (more)
			auth_step(c, arg);
		else
			say(c, "334 ");
	} else if (hm_str_ieq(mechanism, HM_STR("LOGIN"))) {
		s->state = SMTP_AUTH_USER;
		if (more)
			auth_step(c, arg);
		else
			say(c, "334 VXNlcm5hbWU6");
	} else {
		wrong(c, "504 5.5.4 PLAIN or LOGIN");
	}
}

/* What came in clear behind the command is dropped: RFC 3207 section 4.2, or anybody could put words into the session. */
static void on_starttls(struct sink_conn *c)
{
	struct smtp *s = session(c);

	if (c->ssl || !c->worker->sink->tls) {
		wrong(c, "503 5.5.1 TLS is not to be had");
		return;
	}
	say(c, "220 2.0.0 go ahead");
	end_mail(s);
	conn_flush(c); /* the last words in clear */
	s->state = SMTP_HELLO;
	s->authed = false;
	s->user_len = 0;
	hm_buf_reset(&s->in);
	if (!conn_start_tls(c))
		c->doom = DOOM_NOW;
}

static void command(struct sink_conn *c, struct hm_str line)
{
	struct smtp *s = session(c);
	struct hm_str rest = line, verb;

	if (s->state >= SMTP_AUTH_PLAIN) {
		auth_step(c, line);
		return;
	}
	if (!hm_str_split(&rest, ' ', &verb))
		verb = line;
	rest = hm_str_trim(rest);
	if (hm_str_ieq(verb, HM_STR("EHLO")) || hm_str_ieq(verb, HM_STR("HELO"))) {
		on_hello(c, rest, (verb.p[0] | 0x20) == 'e');
	} else if (hm_str_ieq(verb, HM_STR("MAIL"))) {
		on_mail(c, rest);
	} else if (hm_str_ieq(verb, HM_STR("RCPT"))) {
		on_rcpt(c, rest);
	} else if (hm_str_ieq(verb, HM_STR("DATA"))) {
		on_data(c);
	} else if (hm_str_ieq(verb, HM_STR("RSET"))) {
		end_mail(s);
		if (s->state > SMTP_READY)
			s->state = SMTP_READY;
		say(c, "250 2.0.0 ok");
	} else if (hm_str_ieq(verb, HM_STR("NOOP"))) {
		say(c, "250 2.0.0 ok");
	} else if (hm_str_ieq(verb, HM_STR("VRFY"))) {
		say(c, "252 2.5.0 send, and you will see");
	} else if (hm_str_ieq(verb, HM_STR("AUTH"))) {
		on_auth(c, rest);
	} else if (hm_str_ieq(verb, HM_STR("STARTTLS"))) {
		on_starttls(c);
	} else if (hm_str_ieq(verb, HM_STR("QUIT"))) {
		say(c, "221 2.0.0 good bye");
		s->quit = true;
	} else {
		wrong(c, "500 5.5.2 what is that?");
	}
}

/* -- text ---------------------------------------------------------------------------- */

static void put_body(struct sink_req *r, const char *p, size_t n)
{
	if (r->body_too_big || !req_put(r, p, n, r->body + r->conn->worker->sink->options->max_body))
		r->body_too_big = true;
	else
		r->body_len += (uint32_t)n;
}

/* A line of the mail with its end, or the beginning of one without. */
static void text_line(struct sink_conn *c, const char *p, size_t n, bool whole)
{
	struct smtp *s = session(c);

	if (!s->middle && whole && p[0] == '.' && (n == 2 || (n == 3 && p[1] == '\r'))) {
		s->state = SMTP_READY;
		decide_now(c, STAGE_END);
		return;
	}
	if (!s->middle && p[0] == '.') {
		p++;
		n--;
	}
	s->middle = !whole;
	put_body(s->req, p, n);
}

static void pump(struct sink_conn *c)
{
	struct smtp *s = session(c);
	size_t off = 0;

	if (s->pumping)
		return;
	s->pumping = true;
	while (off < s->in.len && c->raw.len < PAUSE_AT && !s->waiting && !s->answering && !s->quit &&
	       c->doom == DOOM_NONE && !c->mute) {
		const char *p = s->in.p + off, *nl = memchr(p, '\n', s->in.len - off);
		size_t n = nl ? (size_t)(nl - p) + 1 : s->in.len - off;

		if (s->state == SMTP_DATA) {
			if (!nl && n < CHUNK)
				break;
			off += n;
			text_line(c, p, n, nl != NULL);
		} else if (n > LINE_MAX_) {
			say(c, "500 5.5.6 the line is too long");
			s->quit = true;
		} else if (!nl) {
			break;
		} else {
			off += n;
			n -= n > 1 && p[n - 2] == '\r' ? 2 : 1;
			command(c, hm_str_n(p, n));
			if (s->in.len == 0) /* TLS begins: nothing of this is left */
				off = 0;
		}
	}
	hm_buf_consume(&s->in, off);
	s->pumping = false;
	if (s->quit && !s->waiting && !s->answering)
		c->doom = hm_max(c->doom, DOOM_AFTER_FLUSH);
}

bool smtp_input(struct sink_conn *c, const char *p, size_t n)
{
	struct smtp *s = session(c);

	hm_buf_put(&s->in, p, n);
	if (s->in.err)
		return false;
	pump(c);
	if (s->in.len > INPUT_MAX) {
		say(c, "421 4.3.2 too much at once");
		if (c->writing) /* and it does not read either */
			c->doom = DOOM_NOW;
		return false;
	}
	return true;
}

/* -- answers --------------------------------------------------------------------------- */

/* What a mail server says for statuses that HTTP has: all is well, too many requests, too large. */
static int smtp_status(int status)
{
	return status < 300 ? 250 : status == 429 ? 450 : status == 413 || status == 431 ? 552 : status;
}

void smtp_answer(struct sink_req *r)
{
	struct sink_conn *c = r->conn;
	struct smtp *s = session(c);
	const struct knobs_conn *k = &c->worker->knobs->conn;
	int status = smtp_status(r->reply.status);
	struct hm_str text = hm_str_trim(r->reply.body), line;

	hm_assert(s->req == r && s->waiting);
	hm_buf_reset(&s->line);
	s->line_sent = 0;
	s->fill = r->reply.fill;
	do {
		if (!hm_str_split(&text, '\n', &line))
			line = HM_STR("");
		hm_buf_printf(&s->line, "%d%c", status, text.len ? '-' : ' ');
		hm_buf_puts(&s->line, hm_str_trim(line));
		if (!s->fill)
			hm_buf_lit(&s->line, "\r\n");
	} while (text.len && !s->line.err);
	if (r->reply.fault == FAULT_TRUNCATE) {
		s->line.len /= 2;
		s->quit = true;
	}
	s->quit |= status == 421;
	if (k->goaway_after && c->requests >= (uint64_t)k->goaway_after && !s->quit) {
		hm_buf_lit(&s->line, "421 4.3.2 enough for one connection\r\n");
		s->quit = true;
	}
	if (k->close_after && c->requests >= (uint64_t)k->close_after)
		s->quit = true;
	if (s->line.err)
		c->doom = DOOM_NOW;
	s->req = NULL;
	s->waiting = false;
	s->answering = r;
	s->n_rcpt = 0;
	/* A refused recipient leaves the mail open for others. */
	s->state = s->stage == STAGE_RCPT ? SMTP_MAIL : SMTP_READY;
	conn_touch(c);
}

static size_t fill_answer(struct sink_conn *c, char *buf, size_t cap)
{
	struct smtp *s = session(c);
	struct sink_req *r = s->answering;
	size_t left = s->line.len - s->line_sent, n;

	if (r->reply.trickle_ms) {
		if (r->deferred)
			return 0;
		cap = hm_min(cap, (size_t)1);
	}
	n = hm_min(left, cap);
	if (n)
		memcpy(buf, s->line.p + s->line_sent, n);
	s->line_sent += n;
	if (n < cap && s->fill) {
		size_t m = (size_t)hm_min((uint64_t)(cap - n), s->fill);

		memset(buf + n, 'x', m);
		s->fill -= m;
		n += m;
	}
	if (s->line_sent == s->line.len && !s->fill) {
		s->answering = NULL;
		req_free(r);
	} else if (r->reply.trickle_ms) {
		r->deferred = true;
		worker_delay(c->worker, r, r->reply.trickle_ms);
	}
	return n;
}

size_t smtp_fill(struct sink_conn *c, char *buf, size_t cap)
{
	struct smtp *s = session(c);
	size_t n = 0, was;

	do {
		was = n;
		n += conn_fill_raw(c, buf + n, cap - n);
		if (n < cap && c->raw.len == 0 && s->answering)
			n += fill_answer(c, buf + n, cap - n);
		if (c->raw.len == 0)
			pump(c);
	} while (n < cap && n > was);
	return n;
}
