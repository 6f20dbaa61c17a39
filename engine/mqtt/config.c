/*
 * config.c - what logs in at a broker, read and checked
 */
#include <stddef.h>

#include "mqtt/mqtt_int.h"

enum kind { TEXT, NUMBER, FLAG };

#define AT(field) offsetof(struct mqtt_config, field)
static const struct row {
	const char *name;
	enum kind kind;
	size_t at;
	uint32_t min, max; /* of a number; of a text the most bytes */
} rows[] = {
	{"user", TEXT, AT(user), 0, 1024},
	{"password", TEXT, AT(password), 0, MQTT_MAX_TEXT},
	{"client_id", TEXT, AT(client_id), 0, 100},
	{"unique", FLAG, AT(unique), 0, 0},
	{"window", NUMBER, AT(window), 1, MQTT_MAX_WINDOW},
	{"keep_alive", NUMBER, AT(keep_alive_s), 0, 65535},
	{"ping_timeout", NUMBER, AT(ping_timeout_s), 1, 600},
	{"connack_timeout", NUMBER, AT(connack_timeout_s), 1, 600},
	{"reconnect", NUMBER, AT(reconnect_s), 1, 300},
	{"max_packet", NUMBER, AT(max_packet), 128, MQTT_MAX_REMAINING},
};

static int read_row(const struct row *r, struct hm_str v, struct mqtt_config *c, struct hm_err *e)
{
	char *at = (char *)c + r->at;
	uint64_t n;

	switch (r->kind) {
	case TEXT:
		if (v.len > r->max)
			return hm_err_set(e, HM_ECONFIG, "MQTT: %s is longer than %u bytes", r->name, r->max);
		/* A password is bytes, the others are texts. */
		if (!hm_str_eq(hm_str_c(r->name), HM_STR("password")) && !mqtt_text_ok(v))
			return hm_err_set(e, HM_ECONFIG, "MQTT: %s holds a character that it may not hold",
					  r->name);
		*(struct hm_str *)(void *)at = v;
		return 0;
	case NUMBER:
		if (!hm_str_u64(v, &n) || n < r->min || n > r->max)
			return hm_err_set(e, HM_ECONFIG, "MQTT: %s is '%.*s', expected %u to %u", r->name,
					  HM_STRF(v), r->min, r->max);
		*(uint32_t *)(void *)at = (uint32_t)n;
		return 0;
	case FLAG: break;
	}
	if (!hm_str_is(v, "yes") && !hm_str_is(v, "no"))
		return hm_err_set(e, HM_ECONFIG, "MQTT: %s is '%.*s', expected yes or no", r->name,
				  HM_STRF(v));
	*(bool *)at = hm_str_is(v, "yes");
	return 0;
}

static int read_pair(struct hm_str name, struct hm_str v, struct mqtt_config *c, struct hm_err *e)
{
	if (v.len == 0)
		return 0;
	for (size_t i = 0; i < hm_countof(rows); i++)
		if (hm_str_is(name, rows[i].name))
			return read_row(&rows[i], v, c, e);
	return hm_err_set(e, HM_ECONFIG, "MQTT: endpoint.session has no member %.*s", HM_STRF(name));
}

int mqtt_config_read(const struct hm_origin_opts *o, struct mqtt_config *c, struct hm_err *e)
{
	struct hm_str rest = o->session, name, v;
	int rc;

	*c = (struct mqtt_config){
		.client_id = HM_STR("hermod"),
		.unique = true,
		.window = 20,
		.keep_alive_s = 60,
		.ping_timeout_s = 10,
		.connack_timeout_s = 15,
		.reconnect_s = 5,
		.max_packet = 262144,
	};
	while (hm_str_split(&rest, '\0', &name)) {
		if (!hm_str_split(&rest, '\0', &v))
			v = HM_STR("");
		if ((rc = read_pair(name, v, c, e)) < 0)
			return rc;
	}
	if (c->password.p && c->user.p == NULL)
		return hm_err_set(e, HM_ECONFIG,
				  "MQTT: a password without a user; the protocol has no place for it");
	return 0;
}
