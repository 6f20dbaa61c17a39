/*
 * test_driver.c - the MQTT driver against a broker of the test's own, on the same loop: it does nothing by itself but let clients in,
 * each test says when and with which bytes it answers
 */
#include "../wire/harness.h"

#include "mqtt/mqtt.h"
#include "mqtt/packet.h"

#define GOT_MAX 64

struct broker_packet {
	unsigned type, flags;
	char body[2048];
	size_t len;
	int conn;
};

struct broker_conn {
	struct hm_conn conn;
	struct hm_buf in;
	int index;
	bool open;
	char client_id[128];
};

static struct broker {
	struct hm_listener listener;
	struct broker_conn conns[16];
	int n_conns, n_open;
	struct broker_packet got[GOT_MAX]; /* but CONNECT; PINGREQ only with hold_pings */
	int n_got, n_pings, n_disconnects;
	unsigned connack;
	bool hold_connacks, hold_pings, closed;
} broker;

static void broker_write(int conn, const void *p, size_t n)
{
	if (broker.conns[conn].open)
		hm_conn_write(&broker.conns[conn].conn, p, n);
}

static void broker_ack(int conn, enum mqtt_type type, unsigned id)
{
	struct hm_buf b;

	hm_buf_init(&b, 100);
	mqtt_put_ack(&b, type, (uint16_t)id);
	broker_write(conn, b.p, b.len);
	hm_buf_fini(&b);
}

/* What the driver has published, as got[n]. */
static struct mqtt_publish published(int n)
{
	struct mqtt_packet k = {.type = MQTT_PUBLISH,
				.flags = (uint8_t)broker.got[n].flags,
				.body = hm_str_n(broker.got[n].body, broker.got[n].len)};
	struct mqtt_publish v;

	assert_int_equal(broker.got[n].type, MQTT_PUBLISH);
	assert_true(mqtt_publish_read(&k, &v));
	return v;
}

static void answer(int n, enum mqtt_type type)
{
	broker_ack(broker.got[n].conn, type, published(n).id);
}

static void broker_packet(struct broker_conn *c, unsigned head, const char *body, size_t n)
{
	struct broker_packet *p;
	char connack[4] = {0x20, 2, 0, (char)broker.connack};

	if (head >> 4 == MQTT_CONNECT) {
		size_t id = (size_t)((uint8_t)body[10] << 8 | (uint8_t)body[11]);

		assert_true(n >= 12 + id && id < sizeof(c->client_id));
		memcpy(c->client_id, body + 12, id);
		if (!broker.hold_connacks)
			broker_write(c->index, connack, 4);
		return;
	}
	broker.n_disconnects += head >> 4 == MQTT_DISCONNECT;
	if (head >> 4 == MQTT_PINGREQ) {
		broker.n_pings++;
		if (!broker.hold_pings) {
			broker_write(c->index, "\xd0\0", 2);
			return;
		}
	}
	assert_true(broker.n_got < GOT_MAX && n <= sizeof(broker.got[0].body));
	p = &broker.got[broker.n_got++];
	*p = (struct broker_packet){.type = head >> 4, .flags = head & 15, .len = n, .conn = c->index};
	memcpy(p->body, body, n);
	uv_stop(&loop);
}

static void broker_read(struct hm_conn *conn, const uint8_t *bytes, size_t n)
{
	struct broker_conn *c = conn->arg;

	hm_buf_put(&c->in, bytes, n);
	for (;;) {
		size_t len = 0, at = 1;
		unsigned shift = 0;

		do {
			if (at >= c->in.len)
				return;
			len |= (size_t)(c->in.p[at] & 0x7f) << shift;
			shift += 7;
		} while (c->in.p[at++] & 0x80);
		if (c->in.len - at < len)
			return;
		broker_packet(c, (uint8_t)c->in.p[0], c->in.p + at, len);
		hm_buf_consume(&c->in, at + len);
	}
}

static void broker_gone(struct hm_conn *conn, const struct hm_err *why)
{
	struct broker_conn *c = conn->arg;

	hm_buf_fini(&c->in);
	c->open = false;
	broker.n_open--;
	uv_stop(&loop);
}

static const struct hm_conn_ops broker_ops = {.on_read = broker_read, .on_close = broker_gone};

static void broker_accept(struct hm_listener *l)
{
	struct broker_conn *c = &broker.conns[broker.n_conns];
	struct hm_conn_opts o = {0};
	struct hm_err e = {0};

	assert_true(broker.n_conns < (int)hm_countof(broker.conns));
	c->index = broker.n_conns++;
	c->open = true;
	broker.n_open++;
	hm_buf_init(&c->in, 1 << 20);
	assert_int_equal(hm_conn_accept(&c->conn, l, &o, &broker_ops, c, &e), 0);
}

static void broker_closed(struct hm_listener *l)
{
	broker.closed = true;
	uv_stop(&loop);
}

/* -- the account ------------------------------------------------------------------------ */

static int mqtt_setup(void **state)
{
	struct hm_listen_opts lo = {.host = HM_STR("127.0.0.1")};
	struct hm_err e = {0};

	setup(state);
	wire_stop();
	wire_opts.drivers[HM_PROTO_MQTT].ops = &hm_mqtt_driver;
	wire_start();
	memset(&broker, 0, sizeof(broker));
	assert_int_equal(hm_listener_open(&broker.listener, &tick, &lo, broker_accept, NULL, &e), 0);
	return 0;
}

static int mqtt_teardown(void **state)
{
	if (wire)
		wire_stop();
	for (int i = 0; i < broker.n_conns; i++)
		if (broker.conns[i].open)
			hm_conn_close(&broker.conns[i].conn, NULL);
	hm_listener_close(&broker.listener, broker_closed);
	run_until(broker.closed && broker.n_open == 0);
	return teardown(state);
}

/* "name\0value\0..." */
#define account(...) account_of(1, "" __VA_ARGS__, sizeof("" __VA_ARGS__))
static struct hm_origin *account_of(uint32_t connections, const char *session, size_t n)
{
	struct hm_origin_opts o = {
		.protocol = HM_PROTO_MQTT,
		.host = HM_STR("127.0.0.1"),
		.port = hm_listener_port(&broker.listener),
		.max_connections = connections,
		.session = n > 1 ? hm_str_n(session, n) : HM_STR(""),
	};
	struct hm_origin *r = NULL;
	struct hm_err e = {0};

	if (hm_wire_origin(wire, &o, &r, &e) < 0)
		fail_msg("%s", e.text);
	return r;
}

#define FIELDS 8
static struct hm_header fields[32][FIELDS];
static int n_calls;

/* shot_done of the harness wants an HTTP status. */
static void mqtt_done(struct hm_call *c)
{
	struct shot *s = hm_container_of(c, struct shot, call);

	assert_int_equal(s->done, 0);
	s->done++;
	uv_stop(&loop);
}

/* Publishes; further pairs are fields. */
static void fire(struct shot *s, struct hm_origin *o, const char *topic, ...)
{
	struct hm_header *f = fields[n_calls++ % 32];
	const char *name;
	size_t n = 0;
	va_list ap;

	if (s->call.magic != HM_CALL_MAGIC || s->done)
		shot_make(s, o, "/");
	s->call.method = HM_STR("PUBLISH");
	s->call.body = HM_STR("hello");
	s->call.on_done = mqtt_done;
	if (topic)
		f[n++] = (struct hm_header){.name = HM_STR("topic"), .value = hm_str_c(topic)};
	va_start(ap, topic);
	while ((name = va_arg(ap, const char *)) != NULL)
		f[n++] = (struct hm_header){.name = hm_str_c(name),
					    .value = hm_str_c(va_arg(ap, const char *))};
	va_end(ap);
	s->call.headers = f;
	s->call.n_headers = n;
	shot_fire(s);
}

static void turn(int times)
{
	while (times-- > 0)
		uv_run(&loop, UV_RUN_NOWAIT);
}

static void assert_header(const struct shot *s, const char *name, const char *value)
{
	struct hm_str v = hm_call_header(&s->call, name);

	if (value == NULL ? v.p != NULL : !hm_str_is(v, value))
		fail_msg("%s is '%.*s', expected '%s'", name, HM_STRF(v), value ? value : "(none)");
}

static void assert_taken(struct shot *s, const char *proof)
{
	shot_wait(s);
	if (s->call.fate != HM_FATE_ANSWERED)
		fail_msg("%s", s->call.err.text);
	assert_int_equal(s->call.status, 0);
	assert_header(s, "phase", "publish");
	assert_header(s, "proof", proof);
	shot_free(s);
}

/* -- tests -------------------------------------------------------------------------------- */

static void at_least_once(void **state)
{
	struct hm_origin *o = account("client_id\0cli\0user\0u\0password\0p");
	struct mqtt_publish v;
	struct shot s = {0};

	fire(&s, o, "t/1", "retain", "yes", NULL);
	run_until(broker.n_got == 1);
	v = published(0);
	assert_true(hm_str_is(v.topic, "t/1") && hm_str_is(v.payload, "hello"));
	assert_true(v.qos == 1 && v.id && v.retain && !v.dup);
	assert_int_equal(strlen(broker.conns[0].client_id), 15);
	assert_memory_equal(broker.conns[0].client_id, "cli", 3);
	turn(4);
	assert_int_equal(s.done, 0);
	answer(0, MQTT_PUBACK);
	assert_taken(&s, "puback");
	assert_int_equal(broker.n_pings, 0);
}

static void exactly_once(void **state)
{
	struct hm_origin *o = account();
	struct shot s = {0};

	fire(&s, o, "t", "qos", "2", NULL);
	run_until(broker.n_got == 1);
	assert_int_equal(published(0).qos, 2);
	for (int i = 1; i <= 2; i++) { /* a PUBREC that comes twice is answered twice */
		answer(0, MQTT_PUBREC);
		run_until(broker.n_got == 1 + i);
		assert_int_equal(broker.got[i].type, MQTT_PUBREL);
		assert_int_equal(broker.got[i].flags, 2);
		assert_memory_equal(broker.got[i].body, broker.got[0].body + 3,
				    2); /* the id, behind the topic */
	}
	turn(4);
	assert_int_equal(s.done, 0);
	answer(0, MQTT_PUBCOMP);
	assert_taken(&s, "pubcomp");
}

/* QoS 0 counts when a PINGRESP shows that it was read; one PINGREQ is under way at a time, for all that wait. */
static void at_most_once(void **state)
{
	struct hm_origin *o = account();
	struct shot s[3] = {0};

	broker.hold_pings = true;
	fire(&s[0], o, "a", "qos", "0", NULL);
	run_until(broker.n_got == 2);
	assert_int_equal(published(0).id, 0);
	assert_int_equal(broker.got[1].type, MQTT_PINGREQ);
	fire(&s[1], o, "b", "qos", "0", NULL);
	fire(&s[2], o, "c", "qos", "0", NULL);
	run_until(broker.n_got == 4);
	turn(4);
	assert_int_equal(broker.n_pings, 1);
	assert_int_equal(s[0].done, 0);
	broker_write(0, "\xd0\0", 2); /* says nothing of the second and third */
	assert_taken(&s[0], "pingresp");
	run_until(broker.n_pings == 2);
	assert_int_equal(s[1].done + s[2].done, 0);
	broker_write(0, "\xd0\0\xd0\0", 4); /* one that nobody asked for: of no interest */
	assert_taken(&s[1], "pingresp");
	assert_taken(&s[2], "pingresp");
	turn(4);
	assert_int_equal(broker.n_pings, 2);
}

/* Everything the broker says, cut at each byte: the same comes out. */
static void cut_anywhere(void **state)
{
	struct hm_origin *o = account();
	struct shot s = {0};
	size_t n = 1;

	for (size_t cut = 1; n == 1 || cut < n; cut++) {
		struct hm_buf b;

		broker.n_got = 0;
		fire(&s, o, "t", "qos", "2", NULL);
		run_until(broker.n_got == 1);
		hm_buf_init(&b, 1000);
		mqtt_put_publish(&b,
				 &(struct mqtt_publish){
					 .topic = HM_STR("x"), .payload = HM_STR("y"), .qos = 1, .id = 9});
		mqtt_put_ack(&b, MQTT_PUBREC, published(0).id);
		mqtt_put_ack(&b, MQTT_PUBCOMP, published(0).id);
		n = b.len;
		broker_write(0, b.p, cut);
		turn(4);
		assert_int_equal(s.done, 0);
		broker_write(0, b.p + cut, n - cut);
		run_until(s.done && broker.n_got == 3);
		assert_int_equal(broker.got[1].type, MQTT_PUBACK); /* of what it published to us unasked */
		assert_int_equal(broker.got[2].type, MQTT_PUBREL);
		assert_taken(&s, "pubcomp");
		hm_buf_fini(&b);
	}
	assert_int_equal(broker.n_conns, 1);
}

static void window_out_of_order(void **state)
{
	struct hm_origin *o = account("window\0"
				      "3");
	struct shot s[4] = {0};

	for (int i = 0; i < 4; i++)
		fire(&s[i], o, "t", NULL);
	run_until(broker.n_got == 3);
	turn(5);
	assert_int_equal(broker.n_got, 3);
	assert_int_equal(hm_origin_room(o, false), 0);
	answer(2, MQTT_PUBACK);
	assert_taken(&s[2], "puback");
	run_until(broker.n_got == 4);
	answer(0, MQTT_PUBACK);
	assert_taken(&s[0], "puback");
	answer(3, MQTT_PUBACK);
	answer(1, MQTT_PUBACK);
	assert_taken(&s[1], "puback");
	assert_taken(&s[3], "puback");
}

static void more_sessions(void **state)
{
	struct hm_origin *o = account_of(2,
					 "window\0"
					 "1",
					 9);
	struct shot s[3] = {0};

	for (int i = 0; i < 3; i++)
		fire(&s[i], o, "t", NULL);
	run_until(broker.n_got == 2);
	assert_int_equal(broker.n_conns, 2);
	assert_true(broker.got[0].conn != broker.got[1].conn);
	assert_string_not_equal(broker.conns[0].client_id, broker.conns[1].client_id);
	answer(0, MQTT_PUBACK);
	run_until(broker.n_got == 3);
	assert_int_equal(broker.got[2].conn, broker.got[0].conn);
	answer(1, MQTT_PUBACK);
	answer(2, MQTT_PUBACK);
	for (int i = 0; i < 3; i++)
		assert_taken(&s[i], "puback");
}

static void lost(void **state)
{
	struct hm_origin *o = account("window\0"
				      "3");
	struct shot s[4] = {0};

	fire(&s[0], o, "a", "qos", "0", NULL);
	broker.hold_pings = true;
	fire(&s[1], o, "b", "qos", "1", NULL);
	fire(&s[2], o, "c", "qos", "2", NULL);
	fire(&s[3], o, "d", NULL); /* waits for the window */
	run_until(broker.n_got >= 3);
	for (int i = 0; i < broker.n_got; i++)
		if (broker.got[i].type == MQTT_PUBLISH && published(i).qos == 2)
			answer(i, MQTT_PUBREC);
	turn(4);
	hm_conn_close(&broker.conns[0].conn, NULL);
	for (int i = 0; i < 3; i++) {
		shot_wait(&s[i]);
		assert_failed(&s[i], HM_FATE_MAYBE, 0, NULL);
		shot_free(&s[i]);
	}
	run_until(broker.n_conns == 2); /* the one that had not gone out goes over the next connection */
	run_until(broker.got[broker.n_got - 1].conn == 1);
	assert_true(hm_str_is(published(broker.n_got - 1).topic, "d"));
	answer(broker.n_got - 1, MQTT_PUBACK);
	assert_taken(&s[3], "puback");
}

/* A call that ends early leaves its id to the broker: a QoS 2 publish under it would be dropped as a repetition. */
static void given_up(void **state)
{
	struct hm_origin *o = account("window\0"
				      "2");
	struct shot s[3] = {0};

	shot_make(&s[0], o, "/");
	s[0].call.timeout_ms = 50;
	fire(&s[0], o, "a", "qos", "2", NULL);
	shot_wait(&s[0]);
	assert_failed(&s[0], HM_FATE_MAYBE, HM_ETIMEDOUT, "no answer");
	shot_free(&s[0]);
	assert_int_equal(hm_origin_room(o, false), 1);
	fire(&s[1], o, "b", "qos", "2", NULL);
	run_until(broker.n_got == 2);
	assert_true(published(0).id != published(1).id);
	/* Late: it is carried through, and the place is free. */
	answer(0, MQTT_PUBREC);
	run_until(broker.n_got == 3);
	assert_int_equal(broker.got[2].type, MQTT_PUBREL);
	answer(0, MQTT_PUBCOMP);
	turn(4);
	assert_int_equal(hm_origin_room(o, false), 1);
	answer(1, MQTT_PUBREC);
	run_until(broker.n_got == 4);
	answer(1, MQTT_PUBCOMP);
	assert_taken(&s[1], "pubcomp");
	/* A broker that answers nothing at all is left. */
	for (int i = 0; i < 2; i++) {
		shot_make(&s[i], o, "/");
		s[i].call.timeout_ms = 50;
		fire(&s[i], o, "c", NULL);
	}
	for (int i = 0; i < 2; i++) {
		shot_wait(&s[i]);
		assert_failed(&s[i], HM_FATE_MAYBE, 0, NULL);
		shot_free(&s[i]);
	}
	run_until(broker.n_open == 0);
	fire(&s[2], o, "d", NULL);
	run_until(broker.got[broker.n_got - 1].conn == 1);
	answer(broker.n_got - 1, MQTT_PUBACK);
	assert_taken(&s[2], "puback");
}

static void cancelled(void **state)
{
	struct hm_origin *o = account("window\0"
				      "1");
	struct shot s[2] = {0};

	for (int i = 0; i < 2; i++)
		fire(&s[i], o, "t", "qos", "0", NULL);
	broker.hold_pings = true;
	run_until(broker.n_got >= 1);
	hm_wire_cancel(&s[1].call);
	hm_wire_cancel(&s[0].call);
	shot_wait(&s[0]);
	shot_wait(&s[1]);
	assert_failed(&s[0], HM_FATE_MAYBE, HM_ECANCELLED, NULL);
	assert_failed(&s[1], HM_FATE_NOT_SENT, HM_ECANCELLED, NULL);
	shot_free(&s[0]);
	shot_free(&s[1]);
}

static void not_let_in(void **state)
{
	static const char *const reasons[] = {"bad-user-name-or-password", "not-authorized", "0x2a"};
	static const unsigned codes[] = {4, 5, 42};

	for (size_t k = 0; k < hm_countof(codes); k++) {
		char user[16];
		struct hm_origin *o;
		struct shot s = {0};

		memcpy(user, "user\0A\0", 8);
		user[5] = (char)('A' + k); /* an account of its own */
		o = account_of(1, user, 7);
		broker.connack = codes[k];
		for (int i = 0; i < 2; i++) { /* the second is told at once: it is tried again much later */
			fire(&s, o, "t", NULL);
			shot_wait(&s);
			assert_int_equal(s.call.fate, HM_FATE_ANSWERED);
			assert_int_equal(s.call.status, codes[k]);
			assert_header(&s, "phase", "connect");
			assert_header(&s, "reason", reasons[k]);
			assert_true(s.call.answer.len > 0);
			shot_free(&s);
		}
		assert_int_equal(broker.n_conns, k + 1);
	}
	assert_int_equal(broker.n_got, 0);
}

static void not_available_is_tried_again_soon(void **state)
{
	struct hm_origin *o = account();
	struct shot s = {0};

	broker.connack = 3;
	fire(&s, o, "t", NULL);
	shot_wait(&s);
	assert_int_equal(s.call.status, 3);
	assert_header(&s, "reason", "server-unavailable");
	shot_free(&s);
	broker.connack = 0;
	fire(&s, o, "t", NULL);
	run_until(broker.n_got == 1);
	answer(0, MQTT_PUBACK);
	assert_taken(&s, "puback");
}

static void connect_unanswered(void **state)
{
	struct hm_origin *o = account("connack_timeout\0"
				      "1");
	struct shot s = {0};

	broker.hold_connacks = true;
	fire(&s, o, "t", NULL);
	shot_wait(&s);
	assert_failed(&s, HM_FATE_NOT_SENT, HM_ETIMEDOUT, "did not answer CONNECT in 1 s");
	shot_free(&s);
}

static void silent(void **state)
{
	struct hm_origin *o = account("keep_alive\0"
				      "1\0"
				      "ping_timeout\0"
				      "1");
	struct shot s = {0};

	fire(&s, o, "t", NULL);
	run_until(broker.n_pings >= 2); /* two signs of life, and it stays */
	assert_int_equal(s.done, 0);
	broker.hold_pings = true;
	shot_wait(&s);
	assert_failed(&s, HM_FATE_MAYBE, HM_ETIMEDOUT, "did not answer PINGREQ in 1 s");
	assert_int_equal(broker.n_conns, 1);
	shot_free(&s);
}

static void nonsense(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *say;
	} v[] = {
#define SAYS(b, say) {b, sizeof(b) - 1, say}
		SAYS("HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak MQTT: it sent 0x4854"),
		SAYS("\xf0\0", "does not speak MQTT: it sent 0xf0"),
		SAYS("\x20\2\0\0", "out of turn"),
		SAYS("\x30\xff\xff\x7f", "packet of more than"),
		SAYS("\x40\3\0\1\0", "malformed packet"),
		SAYS("\x30\3\0\1#", "malformed packet"),
		SAYS("\x40\x80\x80\x80\x80\1", "does not speak MQTT"),
	};

	for (size_t i = 0; i < hm_countof(v); i++) {
		char session[] = "client_id\0A";
		struct hm_origin *o;
		struct shot s = {0};
		int n = broker.n_got;

		session[10] = (char)('A' + i);
		o = account_of(1, session, sizeof(session));
		fire(&s, o, "t", NULL);
		run_until(broker.n_got > n);
		broker_write(broker.got[n].conn, v[i].bytes, v[i].n);
		shot_wait(&s);
		assert_failed(&s, HM_FATE_MAYBE, HM_EPROTO, v[i].say);
		shot_free(&s);
	}
}

/* An id that is not under way is of no interest; an answer of another QoS breaks the protocol. */
static void wrong_answers(void **state)
{
	struct hm_origin *o = account();
	struct shot s = {0};

	fire(&s, o, "t", NULL);
	run_until(broker.n_got == 1);
	broker_ack(0, MQTT_PUBACK, published(0).id + 1u);
	broker_ack(0, MQTT_PUBREC, published(0).id + 1u);
	broker_ack(0, MQTT_PUBCOMP, published(0).id + 1u);
	turn(4);
	assert_int_equal(s.done, 0);
	answer(0, MQTT_PUBREC);
	shot_wait(&s);
	assert_failed(&s, HM_FATE_MAYBE, HM_EPROTO, "another QoS");
	shot_free(&s);
}

static void not_sendable(void **state)
{
	struct hm_origin *o = account("max_packet\0"
				      "200");
	static char longest[300];
	static const struct {
		const char *topic, *field, *value, *say;
	} v[] = {
		{"a/+", NULL, NULL, "the topic 'a/+' holds a wildcard"},
		{"", NULL, NULL, "the topic '' is empty"},
		{NULL, "qos", "1", "there is no topic"},
		{"t", "qos", "3", "qos is '3', expected 0, 1 or 2"},
		{"t", "retain", "true", "retain is 'true', expected yes or no"},
		{"t", "color", "red", "MQTT knows no field color"},
		{longest, NULL, NULL, "a packet of 311 bytes, more than max_packet (200)"},
	};

	memset(longest, 'a', sizeof(longest) - 1);
	for (size_t i = 0; i < hm_countof(v); i++) {
		struct shot s = {0};

		fire(&s, o, v[i].topic, v[i].field, v[i].value, NULL);
		shot_wait(&s);
		assert_failed(&s, HM_FATE_NOT_SENT, HM_EINVAL, v[i].say);
		shot_free(&s);
	}
	assert_int_equal(broker.n_got, 0);
}

static void config(void **state)
{
	static const struct {
		const char *session;
		size_t n;
		const char *say;
	} v[] = {
#define BAD(s, say) {s, sizeof(s), say}
		BAD("password\0x", "a password without a user"),
		BAD("window\0"
		    "0",
		    "window is '0', expected 1 to 1000"),
		BAD("keep_alive\0"
		    "65536",
		    "keep_alive is '65536', expected 0 to 65535"),
		BAD("unique\0maybe", "unique is 'maybe', expected yes or no"),
		BAD("client_id\0a\nb", "client_id holds a character"),
		BAD("user\0\xff", "user holds a character"),
		BAD("color\0red", "has no member color"),
	};

	for (size_t i = 0; i < hm_countof(v); i++) {
		struct hm_origin_opts o = {.protocol = HM_PROTO_MQTT, .host = HM_STR("127.0.0.1"), .port = 1};
		struct hm_origin *r = NULL;
		struct hm_err e = {0};

		o.session = hm_str_n(v[i].session, v[i].n);
		assert_int_equal(hm_wire_origin(wire, &o, &r, &e), HM_ECONFIG);
		if (!strstr(e.text, v[i].say))
			fail_msg("%s: expected %s", e.text, v[i].say);
	}
}

static void leaves_in_order(void **state)
{
	struct hm_origin *o;
	struct shot s = {0};

	wire_stop();
	wire_opts.idle_close_ms = 100;
	wire_start();
	o = account("unique\0no\0client_id\0only-me");
	fire(&s, o, "t", NULL);
	run_until(broker.n_got == 1);
	assert_string_equal(broker.conns[0].client_id, "only-me");
	answer(0, MQTT_PUBACK);
	assert_taken(&s, "puback");
	run_until(broker.n_open == 0); /* nothing to do for a while */
	assert_int_equal(broker.n_disconnects, 1);
	fire(&s, o, "t", NULL);
	run_until(broker.n_got == 3);
	answer(2, MQTT_PUBACK);
	assert_taken(&s, "puback");
	wire_stop();
	run_until(broker.n_open == 0);
	assert_int_equal(broker.n_disconnects, 2);
}

static void described(void **state)
{
	struct hm_origin *o = account("password\0geheim\0user\0me");
	struct shot s = {0};
	struct hm_buf b;

	fire(&s, o, "t", NULL);
	run_until(broker.n_got == 1);
	hm_buf_init(&b, 1 << 16);
	hm_wire_describe(wire, &b);
	assert_non_null(strstr(hm_buf_cstr(&b), "\"state\":\"open\""));
	assert_non_null(strstr(hm_buf_cstr(&b), "\"in_flight\":1"));
	assert_null(strstr(hm_buf_cstr(&b), "geheim"));
	hm_buf_fini(&b);
	answer(0, MQTT_PUBACK);
	assert_taken(&s, "puback");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, mqtt_setup, mqtt_teardown)
	const struct CMUnitTest tests[] = {
		T(at_least_once),
		T(exactly_once),
		T(at_most_once),
		T(cut_anywhere),
		T(window_out_of_order),
		T(more_sessions),
		T(lost),
		T(given_up),
		T(cancelled),
		T(not_let_in),
		T(not_available_is_tried_again_soon),
		T(connect_unanswered),
		T(silent),
		T(nonsense),
		T(wrong_answers),
		T(not_sendable),
		T(config),
		T(leaves_in_order),
		T(described),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
