/*
 * message.c - a call as a PUBLISH: its fields, its answer
 */
#include "mqtt/mqtt_int.h"

/* -- fields --------------------------------------------------------------------------------- */

static int read_field(const struct hm_header *h, struct mqtt_publish *v, struct hm_err *e)
{
	const char *problem;

	if (hm_str_is(h->name, "topic")) {
		problem = mqtt_topic_problem(h->value);
		if (problem)
			return hm_err_set(e, HM_EINVAL, "the topic '%.*s' %s",
					  (int)hm_min(h->value.len, (size_t)80), h->value.p, problem);
		v->topic = h->value;
	} else if (hm_str_is(h->name, "qos")) {
		if (h->value.len != 1 || h->value.p[0] < '0' || h->value.p[0] > '2')
			return hm_err_set(e, HM_EINVAL, "qos is '%.*s', expected 0, 1 or 2",
					  HM_STRF(h->value));
		v->qos = (uint8_t)(h->value.p[0] - '0');
	} else if (hm_str_is(h->name, "retain")) {
		if (!hm_str_is(h->value, "yes") && !hm_str_is(h->value, "no"))
			return hm_err_set(e, HM_EINVAL, "retain is '%.*s', expected yes or no",
					  HM_STRF(h->value));
		v->retain = hm_str_is(h->value, "yes");
	} else if (!hm_str_is(h->name, "content-type")) { /* 3.1.1 has no place for that one */
		return hm_err_set(e, HM_EINVAL, "MQTT knows no field %.*s", HM_STRF(h->name));
	}
	return 0;
}

int mqtt_message_new(struct hm_call *c, const struct mqtt_config *cfg, struct mqtt_message **m_r,
		     struct hm_err *e)
{
	struct mqtt_message *m = hm_arena_zalloc(c->arena, sizeof(*m));
	int rc;

	if (m == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	m->call = c;
	m->publish.qos = 1;
	m->publish.payload = c->body;
	for (size_t i = 0; i < c->n_headers; i++)
		if ((rc = read_field(&c->headers[i], &m->publish, e)) < 0)
			return rc;
	if (m->publish.topic.p == NULL)
		return hm_err_set(e, HM_EINVAL, "there is no topic");
	if (mqtt_publish_size(&m->publish) > cfg->max_packet)
		return hm_err_set(e, HM_EINVAL,
				  "the message needs a packet of %zu bytes, more than max_packet (%u)",
				  mqtt_publish_size(&m->publish), cfg->max_packet);
	HM_MAGIC_SET(m, MQTT_MESSAGE_MAGIC);
	*m_r = m;
	return 0;
}

/* -- answers ---------------------------------------------------------------------------------- */

static bool give(struct hm_call *c, const struct hm_header *list, size_t n, int status)
{
	c->answer_headers = hm_arena_alloc(c->arena, n * sizeof(*list));
	if (c->answer_headers == NULL)
		return false;
	memcpy(c->answer_headers, list, n * sizeof(*list));
	c->n_answer_headers = n;
	c->status = status;
	return true;
}

void mqtt_message_taken(struct mqtt_message *m)
{
	static const char *const qos[] = {"0", "1", "2"}, *const proof[] = {"pingresp", "puback", "pubcomp"};
	struct hm_call *c = m->call;
	const struct hm_header list[] = {
		{.name = HM_STR("phase"), .value = HM_STR("publish")},
		{.name = HM_STR("qos"), .value = hm_str_c(qos[m->publish.qos])},
		{.name = HM_STR("proof"), .value = hm_str_c(proof[m->publish.qos])},
	};

	HM_MAGIC_CLEAR(m);
	if (give(c, list, hm_countof(list), 0))
		call_answered(c);
	else
		call_finish(c, HM_FATE_MAYBE, HM_ENOMEM, "no memory for the answer");
}

void mqtt_answer_refused(struct hm_call *c, unsigned code)
{
	char hex[5];
	const char *name = mqtt_connack_name(code, hex);
	const struct hm_header list[] = {
		{.name = HM_STR("phase"), .value = HM_STR("connect")},
		{.name = HM_STR("reason"),
		 .value = name == hex ? hm_arena_str(c->arena, hm_str_c(hex)) : hm_str_c(name)},
	};
	const char *sentence = mqtt_connack_sentence(code);

	if (list[1].value.p && give(c, list, hm_countof(list), (int)code) &&
	    (call_append(c, sentence, strlen(sentence)) || c->answer_cut))
		call_answered(c);
	else
		call_finish(c, HM_FATE_NOT_SENT, HM_ENOMEM, "out of memory");
}
