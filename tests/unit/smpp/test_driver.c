/*
 * test_driver.c - the SMPP driver against an SMSC of the test's own, on the same loop: it does nothing by itself, each test says when
 * and with which bytes it answers
 */
#include "../wire/harness.h"

#include "smpp/pdu.h"
#include "smpp/smpp.h"

#define SMSC_MAX 64

struct smsc_pdu {
	struct smpp_head h;
	char body[2048];
	size_t len;
	int conn;
};

struct smsc_conn {
	struct hm_conn conn;
	struct hm_buf in;
	int index;
	bool open;
};

static struct smsc {
	struct hm_listener listener;
	struct smsc_conn conns[16];
	int n_conns, n_open;
	struct smsc_pdu got[SMSC_MAX]; /* but binds, unless hold_binds */
	int n_got, n_binds;
	uint32_t bind_status;
	bool hold_binds, closed, bytewise;
} smsc;

static void smsc_write(int conn, const void *p, size_t n)
{
	if (smsc.conns[conn].open)
		hm_conn_write(&smsc.conns[conn].conn, p, n);
}

static void smsc_send(int conn, uint32_t id, uint32_t status, uint32_t sequence, const void *body, size_t n)
{
	struct hm_buf b;
	size_t at;

	hm_buf_init(&b, 1 << 17);
	at = smpp_begin(&b, id, status, sequence);
	hm_buf_put(&b, body, n);
	smpp_end(&b, at);
	smsc_write(conn, b.p, b.len);
	hm_buf_fini(&b);
}

static void smsc_pdu(struct smsc_conn *c, const struct smpp_head *h, const char *body)
{
	struct smsc_pdu *p;
	size_t n = h->length - SMPP_HEAD;

	if (h->id == SMPP_BIND_TRANSCEIVER || h->id == SMPP_BIND_TRANSMITTER || h->id == SMPP_BIND_RECEIVER) {
		smsc.n_binds++;
		if (!smsc.hold_binds)
			smsc_send(c->index, h->id | SMPP_RESP, smsc.bind_status, h->sequence, "SMSC",
				  smsc.bind_status ? 0 : 5);
		return;
	}
	if (h->id == SMPP_UNBIND) {
		smsc_send(c->index, SMPP_UNBIND | SMPP_RESP, 0, h->sequence, "", 0);
		return;
	}
	assert_true(smsc.n_got < SMSC_MAX && n <= sizeof(smsc.got[0].body));
	p = &smsc.got[smsc.n_got++];
	p->h = *h;
	p->len = n;
	p->conn = c->index;
	memcpy(p->body, body, n);
	uv_stop(&loop);
}

static void smsc_read(struct hm_conn *conn, const uint8_t *bytes, size_t n)
{
	struct smsc_conn *c = conn->arg;
	struct smpp_head h;

	hm_buf_put(&c->in, bytes, n);
	while (c->in.len >= SMPP_HEAD) {
		smpp_head_read((const uint8_t *)c->in.p, &h);
		if (c->in.len < h.length)
			break;
		smsc_pdu(c, &h, c->in.p + SMPP_HEAD);
		hm_buf_consume(&c->in, h.length);
	}
}

static void smsc_gone(struct hm_conn *conn, const struct hm_err *why)
{
	struct smsc_conn *c = conn->arg;

	hm_buf_fini(&c->in);
	c->open = false;
	smsc.n_open--;
	uv_stop(&loop);
}

static const struct hm_conn_ops smsc_ops = {.on_read = smsc_read, .on_close = smsc_gone};

static void smsc_accept(struct hm_listener *l)
{
	struct smsc_conn *c = &smsc.conns[smsc.n_conns];
	struct hm_conn_opts o = {0};
	struct hm_err e = {0};

	assert_true(smsc.n_conns < (int)hm_countof(smsc.conns));
	c->index = smsc.n_conns++;
	c->open = true;
	smsc.n_open++;
	hm_buf_init(&c->in, 1 << 20);
	assert_int_equal(hm_conn_accept(&c->conn, l, &o, &smsc_ops, c, &e), 0);
}

static void smsc_closed(struct hm_listener *l)
{
	smsc.closed = true;
	uv_stop(&loop);
}

/* -- events ------------------------------------------------------------------------- */

static struct hm_driver_event *events[16];
static int n_events;
static bool take_at_once;
static char last_text[64], last_place[16]; /* of what was taken at once: it is gone then */

static struct hm_str event_field(const struct hm_driver_event *ev, const char *name)
{
	for (size_t i = 0; i < ev->n_fields; i++)
		if (hm_str_is(ev->fields[i].name, name))
			return ev->fields[i].value;
	return HM_STR_NULL;
}

static void on_event(void *arg, struct hm_driver_event *ev)
{
	assert_true(n_events < (int)hm_countof(events));
	events[n_events++] = ev;
	if (take_at_once) {
		snprintf(last_text, sizeof(last_text), "%.*s", HM_STRF(ev->body));
		snprintf(last_place, sizeof(last_place), "%.*s/%.*s", HM_STRF(event_field(ev, "part")),
			 HM_STRF(event_field(ev, "parts")));
		ev->done(ev, 0);
	}
	uv_stop(&loop);
}

/* -- the account ------------------------------------------------------------------------ */

static int smpp_setup(void **state)
{
	struct hm_listen_opts lo = {.host = HM_STR("127.0.0.1")};
	struct hm_err e = {0};

	setup(state);
	wire_stop();
	wire_opts.drivers[HM_PROTO_SMPP].ops = &hm_smpp_driver;
	wire_opts.on_event = on_event;
	wire_start();
	memset(&smsc, 0, sizeof(smsc));
	n_events = 0;
	take_at_once = false;
	assert_int_equal(hm_listener_open(&smsc.listener, &tick, &lo, smsc_accept, NULL, &e), 0);
	return 0;
}

static int smpp_teardown(void **state)
{
	if (wire)
		wire_stop();
	for (int i = 0; i < smsc.n_conns; i++)
		if (smsc.conns[i].open)
			hm_conn_close(&smsc.conns[i].conn, NULL);
	hm_listener_close(&smsc.listener, smsc_closed);
	run_until(smsc.closed && smsc.n_open == 0);
	return teardown(state);
}

/* "name\0value\0...", more pairs behind the account's */
#define account(...) account_of("" __VA_ARGS__, sizeof("" __VA_ARGS__) - 1)
static struct hm_origin *account_of(const char *more, size_t n)
{
	static char session[1024];
	struct hm_origin_opts o = {
		.protocol = HM_PROTO_SMPP,
		.host = HM_STR("127.0.0.1"),
		.port = hm_listener_port(&smsc.listener),
		.max_connections = 1,
	};
	static const char base[] = "system_id\0hermod\0password\0secret08";
	struct hm_origin *r = NULL;
	struct hm_err e = {0};

	memcpy(session, base, sizeof(base));
	memcpy(session + sizeof(base), more, n);
	o.session = hm_str_n(session, sizeof(base) + n);
	if (hm_wire_origin(wire, &o, &r, &e) < 0)
		fail_msg("%s", e.text);
	return r;
}

#define FIELDS 8
static struct hm_header fields[32][FIELDS];
static int n_calls;

static void text_make(struct shot *s, struct hm_origin *o, const char *body, ...)
{
	struct hm_header *f = fields[n_calls++ % 32];
	const char *name;
	size_t n = 0;
	va_list ap;

	shot_make(s, o, "/");
	s->call.method = HM_STR("SUBMIT");
	s->call.body = hm_str_c(body);
	f[n++] = (struct hm_header){.name = HM_STR("destination_addr"), .value = HM_STR("+447700900000")};
	va_start(ap, body);
	while ((name = va_arg(ap, const char *)) != NULL)
		f[n++] = (struct hm_header){.name = hm_str_c(name),
					    .value = hm_str_c(va_arg(ap, const char *))};
	va_end(ap);
	s->call.headers = f;
	s->call.n_headers = n;
}

static void answer(int got, uint32_t status, const char *id)
{
	smsc_send(smsc.got[got].conn, SMPP_SUBMIT_SM | SMPP_RESP, status, smsc.got[got].h.sequence, id,
		  status ? 0 : strlen(id) + 1);
}

static const char *long_text(size_t n)
{
	static char text[4096];

	memset(text, 'a', n);
	text[n] = '\0';
	return text;
}

static void assert_header(const struct shot *s, const char *name, const char *value)
{
	struct hm_str v = hm_call_header(&s->call, name);

	if (value == NULL ? v.p != NULL : !hm_str_is(v, value))
		fail_msg("%s is '%.*s', expected '%s'", name, HM_STRF(v), value ? value : "(none)");
}

/* -- tests -------------------------------------------------------------------------------- */

/* shot_done of the harness wants an HTTP status. */
static void smpp_done(struct hm_call *c)
{
	struct shot *s = hm_container_of(c, struct shot, call);

	assert_int_equal(s->done, 0);
	s->done++;
	uv_stop(&loop);
}

static void fire(struct shot *s)
{
	s->call.on_done = smpp_done;
	shot_fire(s);
}

static void one(void **state)
{
	struct hm_origin *o = account();
	struct smpp_sm m;
	struct shot s;

	text_make(&s, o, "Hello", "source_addr", "Acme", "registered_delivery", "1", "validity", "90061",
		  NULL);
	fire(&s);
	run_until(smsc.n_got == 1);
	assert_true(smpp_sm_read(hm_str_n(smsc.got[0].body, smsc.got[0].len), &m));
	assert_true(hm_str_is(m.message, "Hello") && hm_str_is(m.source, "Acme") && m.source_ton == 5);
	assert_true(hm_str_is(m.dest, "447700900000") && m.dest_ton == 1 && m.dest_npi == 1);
	assert_true(hm_str_is(m.validity, "000001010101000R"));
	assert_int_equal(m.registered, 1);
	answer(0, 0, "7A3F01");
	shot_wait(&s);
	assert_int_equal(s.call.fate, HM_FATE_ANSWERED);
	assert_int_equal(s.call.status, 0);
	assert_header(&s, "command-status", "ESME_ROK");
	assert_header(&s, "message-id", "7A3F01");
	assert_header(&s, "message-ids", "7A3F01");
	assert_header(&s, "partial", NULL);
	shot_free(&s);
}

/* Everything the SMSC says, cut at each byte: the same comes out. */
static void cut_anywhere(void **state)
{
	struct hm_origin *o = account();
	char bytes[64];
	size_t n = 0;

	for (size_t cut = 1; n == 0 || cut < n; cut++) {
		struct hm_buf b;
		struct shot s;
		size_t at;

		smsc.n_got = 0;
		text_make(&s, o, "x", NULL);
		fire(&s);
		run_until(smsc.n_got == 1);
		hm_buf_init(&b, 1000);
		smpp_put_empty(&b, SMPP_ENQUIRE_LINK, 0, 77);
		at = smpp_begin(&b, SMPP_SUBMIT_SM | SMPP_RESP, 0, smsc.got[0].h.sequence);
		hm_buf_put(&b, "ID1", 4);
		smpp_end(&b, at);
		n = b.len;
		memcpy(bytes, b.p, n);
		hm_buf_fini(&b);
		smsc_write(0, bytes, cut);
		for (int i = 0; i < 4; i++)
			uv_run(&loop, UV_RUN_NOWAIT);
		assert_int_equal(s.done, 0);
		smsc_write(0, bytes + cut, n - cut);
		run_until(s.done && smsc.n_got == 2);
		assert_header(&s, "message-id", "ID1");
		assert_true(smsc.got[1].h.id == (SMPP_ENQUIRE_LINK | SMPP_RESP));
		assert_int_equal(smsc.got[1].h.sequence, 77);
		shot_free(&s);
	}
	assert_int_equal(smsc.n_binds, 1);
}

static void out_of_order(void **state)
{
	struct hm_origin *o = account("window\0"
				      "3");
	struct shot s[4];

	for (int i = 0; i < 4; i++) {
		text_make(&s[i], o, "x", NULL);
		fire(&s[i]);
	}
	run_until(smsc.n_got == 3);
	for (int i = 0; i < 5; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(smsc.n_got, 3); /* the window */
	answer(2, 0, "C");
	answer(0, 0, "A");
	run_until(smsc.n_got == 4);
	answer(3, 0, "D");
	answer(1, 0, "B");
	for (int i = 0; i < 4; i++) {
		const char want[2] = {(char)('A' + i), '\0'};

		shot_wait(&s[i]);
		assert_header(&s[i], "message-id", want);
		shot_free(&s[i]);
	}
}

static void parts_of_a_text(void **state)
{
	struct hm_origin *o = account();
	struct shot s;

	text_make(&s, o, long_text(400), "registered_delivery", "1", NULL);
	fire(&s);
	run_until(smsc.n_got == 3);
	for (int i = 0; i < 3; i++) {
		struct smpp_sm m;

		assert_true(smpp_sm_read(hm_str_n(smsc.got[i].body, smsc.got[i].len), &m));
		assert_int_equal(m.esm_class, 0x40);
		assert_int_equal(m.registered, i == 2 ? 1 : 2);
		assert_memory_equal(m.message.p, "\x05\x00\x03", 3);
		assert_int_equal(m.message.p[4], 3);
		assert_int_equal(m.message.p[5], i + 1);
	}
	answer(0, 0, "A");
	answer(2, 0, "C");
	for (int i = 0; i < 3; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(s.done, 0);
	answer(1, 0, "B");
	shot_wait(&s);
	assert_header(&s, "message-ids", "C,A,B");
	assert_header(&s, "parts", "3");
	assert_header(&s, "accepted", "3");
	shot_free(&s);
	/* One refused, others taken. */
	smsc.n_got = 0;
	text_make(&s, o, long_text(400), NULL);
	fire(&s);
	run_until(smsc.n_got == 3);
	answer(0, 0, "A");
	answer(1, 0x0B, "");
	answer(2, 0, "C");
	shot_wait(&s);
	assert_int_equal(s.call.status, 0x0B);
	assert_header(&s, "command-status", "ESME_RINVDSTADR");
	assert_header(&s, "partial", "yes");
	assert_header(&s, "accepted", "2");
	shot_free(&s);
}

/* The first part refused: the others are not sent for nothing. */
static void refused_early(void **state)
{
	struct hm_origin *o = account("window\0"
				      "1");
	struct shot s;

	text_make(&s, o, long_text(400), NULL);
	fire(&s);
	run_until(smsc.n_got == 1);
	answer(0, 0x0B, "");
	shot_wait(&s);
	assert_int_equal(s.call.status, 0x0B);
	assert_header(&s, "partial", NULL);
	assert_header(&s, "message-ids", NULL);
	assert_int_equal(smsc.n_got, 1);
	shot_free(&s);
}

static void throttled(void **state)
{
	struct hm_origin *o = account("window\0"
				      "4");
	struct shot s[3];
	uint64_t before;

	text_make(&s[0], o, "x", NULL);
	fire(&s[0]);
	run_until(smsc.n_got == 1);
	answer(0, 0x58, "");
	shot_wait(&s[0]);
	assert_int_equal(s[0].call.status, 0x58);
	assert_int_equal(hm_origin_room(o, false), 0);
	before = hm_tick_ms(&tick);
	for (int i = 1; i < 3; i++) {
		text_make(&s[i], o, "y", NULL);
		fire(&s[i]);
	}
	run_until(smsc.n_got == 3); /* after the rest, and two at once: the window was halved */
	assert_true(hm_tick_ms(&tick) - before >= 900);
	answer(1, 0, "A");
	answer(2, 0, "B");
	for (int i = 0; i < 3; i++) {
		shot_wait(&s[i]);
		shot_free(&s[i]);
	}
}

static void nack(void **state)
{
	struct hm_origin *o = account();
	struct shot s;

	text_make(&s, o, "x", NULL);
	fire(&s);
	run_until(smsc.n_got == 1);
	smsc_send(0, SMPP_GENERIC_NACK, 3, smsc.got[0].h.sequence, "", 0);
	shot_wait(&s);
	assert_int_equal(s.call.fate, HM_FATE_ANSWERED);
	assert_header(&s, "command-status", "ESME_RINVCMDID");
	shot_free(&s);
}

static void lost(void **state)
{
	struct hm_origin *o = account();
	struct shot s[2];

	text_make(&s[0], o, "x", NULL);
	text_make(&s[1], o, long_text(300), NULL);
	fire(&s[0]);
	fire(&s[1]);
	run_until(smsc.n_got == 3);
	answer(1, 0, "A");
	for (int i = 0; i < 3; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	hm_conn_close(&smsc.conns[0].conn, NULL);
	for (int i = 0; i < 2; i++) {
		shot_wait(&s[i]);
		assert_failed(&s[i], HM_FATE_MAYBE, 0, NULL);
		shot_free(&s[i]);
	}
}

static void unanswered(void **state)
{
	struct hm_origin *o = account("window\0"
				      "1");
	struct shot s[2];

	text_make(&s[0], o, "x", NULL);
	s[0].call.timeout_ms = 50;
	fire(&s[0]);
	shot_wait(&s[0]);
	assert_failed(&s[0], HM_FATE_MAYBE, HM_ETIMEDOUT, "no answer");
	/* Its place in the window is free, and its late answer is of no interest. */
	text_make(&s[1], o, "y", NULL);
	fire(&s[1]);
	run_until(smsc.n_got == 2);
	answer(0, 0, "late");
	answer(1, 0, "B");
	shot_wait(&s[1]);
	assert_header(&s[1], "message-id", "B");
	shot_free(&s[0]);
	shot_free(&s[1]);
}

static void cancelled(void **state)
{
	struct hm_origin *o = account("window\0"
				      "1");
	struct shot s[2];

	for (int i = 0; i < 2; i++) {
		text_make(&s[i], o, "x", NULL);
		fire(&s[i]);
	}
	run_until(smsc.n_got == 1);
	hm_wire_cancel(&s[1].call);
	hm_wire_cancel(&s[0].call);
	shot_wait(&s[0]);
	shot_wait(&s[1]);
	assert_failed(&s[0], HM_FATE_MAYBE, HM_ECANCELLED, NULL);
	assert_failed(&s[1], HM_FATE_NOT_SENT, HM_ECANCELLED, NULL);
	shot_free(&s[0]);
	shot_free(&s[1]);
}

static void bind_refused(void **state)
{
	struct hm_origin *o = account();
	struct shot s[2];

	smsc.bind_status = 0x0E;
	for (int i = 0; i < 2; i++) { /* the second is told at once: it is tried again much later */
		text_make(&s[i], o, "x", NULL);
		fire(&s[i]);
		shot_wait(&s[i]);
		assert_int_equal(s[i].call.fate, HM_FATE_ANSWERED);
		assert_int_equal(s[i].call.status, 0x0E);
		assert_header(&s[i], "phase", "bind");
		assert_header(&s[i], "command-status", "ESME_RINVPASWD");
		shot_free(&s[i]);
	}
	assert_int_equal(smsc.n_binds, 1);
}

static void bind_unanswered(void **state)
{
	struct hm_origin *o = account("bind_timeout\0"
				      "1");
	struct shot s;

	smsc.hold_binds = true;
	text_make(&s, o, "x", NULL);
	fire(&s);
	shot_wait(&s);
	assert_failed(&s, HM_FATE_NOT_SENT, HM_ETIMEDOUT, "did not answer the bind");
	shot_free(&s);
}

static void silent(void **state)
{
	struct hm_origin *o = account("enquire_link\0"
				      "1\0"
				      "enquire_timeout\0"
				      "1");
	struct shot s;

	text_make(&s, o, "x", NULL);
	fire(&s);
	shot_wait(&s); /* two tests without an answer end the session */
	assert_failed(&s, HM_FATE_MAYBE, HM_ETIMEDOUT, "did not answer 2 enquire_link");
	assert_int_equal(smsc.n_got, 3);
	assert_true(smsc.got[1].h.id == SMPP_ENQUIRE_LINK && smsc.got[2].h.id == SMPP_ENQUIRE_LINK);
	shot_free(&s);
}

static void not_sendable(void **state)
{
	struct hm_origin *o = account();
	struct shot s;

	text_make(&s, o, "x", "source_addr", "MuchTooLongASender", NULL);
	fire(&s);
	shot_wait(&s);
	assert_failed(&s, HM_FATE_NOT_SENT, HM_EINVAL, "longer than 11");
	shot_free(&s);
	text_make(&s, o, "x", "priority_flag", "9", NULL);
	fire(&s);
	shot_wait(&s);
	assert_failed(&s, HM_FATE_NOT_SENT, HM_EINVAL, "priority_flag is '9', expected 0 to 3");
	shot_free(&s);
	text_make(&s, o, "x", "nonsense", "9", NULL);
	fire(&s);
	shot_wait(&s);
	assert_failed(&s, HM_FATE_NOT_SENT, HM_EINVAL, "no field nonsense");
	shot_free(&s);
	assert_int_equal(smsc.n_got, 0);
}

static void config(void **state)
{
	static const struct {
		const char *session;
		size_t n;
		const char *say;
	} v[] = {
#define BAD(s, say) {s, sizeof(s), say}
		BAD("password\0x", "needs a system_id"),
		BAD("system_id\0a\0window\0"
		    "0",
		    "window is '0', expected 1 to 1000"),
		BAD("system_id\0a\0bind\0both", "bind is 'both', expected transceiver, transmitter or pair"),
		BAD("system_id\0aaaaaaaaaaaaaaaa", "system_id is longer than 15"),
		BAD("system_id\0a\0color\0red", "has no member color"),
	};

	for (size_t i = 0; i < hm_countof(v); i++) {
		struct hm_origin_opts o = {.protocol = HM_PROTO_SMPP, .host = HM_STR("127.0.0.1"), .port = 1};
		struct hm_origin *r = NULL;
		struct hm_err e = {0};

		o.session = hm_str_n(v[i].session, v[i].n);
		assert_int_equal(hm_wire_origin(wire, &o, &r, &e), HM_ECONFIG);
		if (!strstr(e.text, v[i].say))
			fail_msg("%s: expected %s", e.text, v[i].say);
	}
}

static const char receipt[] = "\0\1\1"
			      "447700900000\0"
			      "\5\0"
			      "Acme\0"
			      "\4\0\0\0\0\0\0\0\0"
			      "\x1f"
			      "id:0008011521 stat:DELIVRD err:0";

static void deliver(uint32_t sequence)
{
	smsc_send(0, SMPP_DELIVER_SM, 0, sequence, receipt, sizeof(receipt) - 1);
}

static void events_are_taken(void **state)
{
	struct hm_origin *o = account("receipt_radix\0"
				      "dec\0"
				      "id_radix\0"
				      "hex");
	struct shot s;

	hm_origin_hold(o); /* who wants receipts is bound without a message */
	run_until(smsc.n_binds == 1);
	text_make(&s, o, "x", NULL);
	fire(&s);
	run_until(smsc.n_got == 1);
	answer(0, 0, "7A3F01");
	shot_wait(&s);
	assert_header(&s, "message-id", "8011521");
	shot_free(&s);
	smsc.n_got = 0;
	deliver(5);
	deliver(6);
	run_until(n_events == 2);
	assert_true(events[0]->origin == o);
	assert_true(hm_str_is(event_field(events[0], "type"), "receipt"));
	assert_true(hm_str_is(event_field(events[0], "id"), "8011521"));
	assert_true(hm_str_is(event_field(events[0], "stat"), "DELIVRD"));
	assert_true(hm_str_is(event_field(events[0], "from"), "447700900000"));
	assert_true(hm_str_is(event_field(events[0], "to"), "Acme"));
	for (int i = 0; i < 4; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(smsc.n_got, 0); /* not before it is taken */
	events[1]->done(events[1], HM_EAGAIN);
	events[0]->done(events[0], 0);
	run_until(smsc.n_got == 2);
	assert_true(smsc.got[0].h.id == (SMPP_DELIVER_SM | SMPP_RESP));
	assert_int_equal(smsc.got[0].h.sequence, 6);
	assert_int_equal(smsc.got[0].h.status, SMPP_RX_T_APPN);
	assert_int_equal(smsc.got[1].h.sequence, 5);
	assert_int_equal(smsc.got[1].h.status, 0);
	/* A broken one is refused for good, and the session goes on. */
	smsc_send(0, SMPP_DELIVER_SM, 0, 7, receipt, 20);
	run_until(smsc.n_got == 3);
	assert_int_equal(smsc.got[2].h.status, SMPP_RX_P_APPN);
	/* Taken when the session is gone: nobody is told, nothing is lost. */
	deliver(8);
	run_until(n_events == 3);
	hm_conn_close(&smsc.conns[0].conn, NULL);
	run_until(smsc.n_open == 0);
	events[2]->done(events[2], 0);
	hm_origin_release(o);
}

static void inbound_event(void **state)
{
	static const char mo[] = "\0\1\1"
				 "447700900000\0"
				 "\1\1"
				 "12345\0"
				 "\x40\0\0\0\0\0\0\x08\0"
				 "\x0a"
				 "\5\0\3\xa7\2\1"
				 "\x4f\x60\x59\x7d";
	struct hm_origin *o = account();

	take_at_once = true;
	hm_origin_hold(o);
	run_until(smsc.n_binds == 1);
	smsc_send(0, SMPP_DELIVER_SM, 0, 9, mo, sizeof(mo) - 1);
	run_until(smsc.n_got == 1);
	assert_int_equal(n_events, 1);
	assert_int_equal(smsc.got[0].h.status, 0);
	assert_string_equal(last_text, "\xe4\xbd\xa0\xe5\xa5\xbd");
	assert_string_equal(last_place, "1/2");
	hm_origin_release(o);
}

static void unknown_commands(void **state)
{
	struct hm_origin *o = account();
	struct shot s;

	text_make(&s, o, "x", NULL);
	fire(&s);
	run_until(smsc.n_got == 1);
	smsc_send(0, 0xff, 0, 3, "abc", 3);
	run_until(smsc.n_got == 2);
	assert_true(smsc.got[1].h.id == SMPP_GENERIC_NACK);
	assert_int_equal(smsc.got[1].h.status, SMPP_RINVCMDID);
	assert_int_equal(smsc.got[1].h.sequence, 3);
	smsc_write(0, "\xff\xff\xff\xff", 4);
	shot_wait(&s);
	assert_failed(&s, HM_FATE_MAYBE, HM_EPROTO, "PDU of");
	shot_free(&s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, smpp_setup, smpp_teardown)
	const struct CMUnitTest tests[] = {
		T(one),		  T(cut_anywhere),     T(out_of_order), T(parts_of_a_text),
		T(refused_early), T(throttled),	       T(nack),		T(lost),
		T(unanswered),	  T(cancelled),	       T(bind_refused), T(bind_unanswered),
		T(silent),	  T(not_sendable),     T(config),	T(events_are_taken),
		T(inbound_event), T(unknown_commands),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
