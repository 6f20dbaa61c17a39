/*
 * opts.c - the command line of hermod-bench
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "opts.h"

static const char usage[] =
	"usage: hermod-bench [options]\n"
	"\n"
	"Puts load on a running hermod, watches it to the last message and prints what came of it.\n"
	"\n"
	"where\n"
	"  --redis URL         queue (default unix:///PATH of ./data's embedded Redis); redis:// rediss:// "
	"unix://\n"
	"                      redis+cluster://\n"
	"  --http URL          API of the engine (default http://127.0.0.1:7700): progress comes from its "
	"report\n"
	"  --key KEY           API key (default $HERMOD_KEY); needs scope read, with --via http also send\n"
	"  --prefix P          queue.prefix of the engine (default hm)\n"
	"  --partitions N      queue.partitions of the engine (default 16)\n"
	"what\n"
	"  --messages N        how many (default 100000); 1k, 10m are understood\n"
	"  --via redis|http    how they are submitted (default redis)\n"
	"  --mix KIND=CHANNEL[:SHARE],...\n"
	"                      channels and shares; KIND says what an address looks like: apns fcm wecom "
	"webhook\n"
	"                      phone email plain list (default apns=apns-sink)\n"
	"  --chunk N           recipients per queue entry, 1..1000 (default 100)\n"
	"  --lane L            critical high normal bulk (default normal)\n"
	"  --template REF      a template of the engine; otherwise a short text with two placeholders\n"
	"  --body BYTES        pad the text to about so many bytes\n"
	"  --same              one text for all of an entry, no data of recipients: calls may have many of "
	"them\n"
	"  --hook-url URL      prefix of addresses of kind webhook\n"
	"  --addresses FILE    addresses of kind list, one a line, from the first again after the last\n"
	"  --campaign NAME     label to count by (default bench-<time>)\n"
	"how\n"
	"  --rate N            messages per second (default: as fast as they are taken)\n"
	"  --window N          submissions under way at once (default 64)\n"
	"  --timeout S         give up after so many seconds without progress (default 60)\n"
	"  --no-wait           submit only\n"
	"  --json              one JSON document on stdout instead of the table\n"
	"  --quiet             no progress display\n";

static bool number(const char *s, uint64_t min, uint64_t max, uint64_t *v)
{
	struct hm_str t = hm_str_c(s);
	uint64_t unit = 1;

	if (t.len > 1 && (t.p[t.len - 1] == 'k' || t.p[t.len - 1] == 'K'))
		unit = 1000;
	else if (t.len > 1 && (t.p[t.len - 1] == 'm' || t.p[t.len - 1] == 'M'))
		unit = 1000000;
	if (unit > 1)
		t.len--;
	if (!hm_str_u64(t, v) || *v > UINT64_MAX / unit)
		return false;
	*v *= unit;
	return *v >= min && *v <= max;
}

static bool parse_mix(struct opts *o, const char *s)
{
	static const char *const kinds[] = {"apns",  "fcm",   "wecom", "webhook",
					    "phone", "email", "plain", "list"};
	struct hm_str rest = hm_str_c(s), item;

	o->n_mix = 0;
	o->shares = 0;
	while (hm_str_split(&rest, ',', &item)) {
		struct mix *m = &o->mix[o->n_mix];
		struct hm_str kind, chan;
		uint64_t share = 1;
		bool known = false;

		if (o->n_mix == MIX_MAX || !hm_str_split(&item, '=', &kind) ||
		    !hm_str_split(&item, ':', &chan) || chan.len == 0 || chan.len >= sizeof(m->channel))
			return false;
		if (item.len > 0 && (!hm_str_u64(item, &share) || share == 0 || share > 1000))
			return false;
		for (size_t k = 0; k < hm_countof(kinds); k++) {
			if (hm_str_is(kind, kinds[k])) {
				m->kind = (enum addr_kind)k;
				known = true;
			}
		}
		if (!known)
			return false;
		memcpy(m->channel, chan.p, chan.len);
		m->channel[chan.len] = '\0';
		m->share = (unsigned)share;
		m->made = 0;
		o->shares += m->share;
		o->n_mix++;
	}
	return o->n_mix > 0;
}

int opts_parse(struct opts *o, int argc, char **argv)
{
	enum {
		REDIS = 1,
		HTTP,
		KEY,
		PREFIX,
		PARTITIONS,
		MESSAGES,
		VIA,
		MIX,
		CHUNK,
		LANE,
		TEMPLATE,
		BODY,
		HOOK,
		ADDRESSES,
		SAME,
		CAMPAIGN,
		RATE,
		WINDOW,
		TIMEOUT,
		NO_WAIT,
		JSON,
		QUIET,
		HELP
	};
	static const struct option longs[] = {
		{"redis", 1, NULL, REDIS},
		{"http", 1, NULL, HTTP},
		{"key", 1, NULL, KEY},
		{"prefix", 1, NULL, PREFIX},
		{"partitions", 1, NULL, PARTITIONS},
		{"messages", 1, NULL, MESSAGES},
		{"via", 1, NULL, VIA},
		{"mix", 1, NULL, MIX},
		{"chunk", 1, NULL, CHUNK},
		{"lane", 1, NULL, LANE},
		{"template", 1, NULL, TEMPLATE},
		{"body", 1, NULL, BODY},
		{"hook-url", 1, NULL, HOOK},
		{"addresses", 1, NULL, ADDRESSES},
		{"same", 0, NULL, SAME},
		{"campaign", 1, NULL, CAMPAIGN},
		{"rate", 1, NULL, RATE},
		{"window", 1, NULL, WINDOW},
		{"timeout", 1, NULL, TIMEOUT},
		{"no-wait", 0, NULL, NO_WAIT},
		{"json", 0, NULL, JSON},
		{"quiet", 0, NULL, QUIET},
		{"help", 0, NULL, HELP},
		{NULL, 0, NULL, 0},
	};
	uint64_t v = 0;
	int c;

	memset(o, 0, sizeof(*o));
	o->http = "http://127.0.0.1:7700";
	o->key = getenv("HERMOD_KEY");
	o->prefix = "hm";
	o->partitions = 16;
	o->messages = 100000;
	o->chunk = 100;
	o->lane = HM_LANE_NORMAL;
	o->window = 64;
	o->timeout_s = 60;
	(void)parse_mix(o, "apns=apns-sink");
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		bool ok = true;

		switch (c) {
		case REDIS: o->redis = optarg; break;
		case HTTP: o->http = optarg; break;
		case KEY: o->key = optarg; break;
		case PREFIX: o->prefix = optarg; break;
		case CAMPAIGN: o->campaign = optarg; break;
		case TEMPLATE: o->template_ref = optarg; break;
		case HOOK: o->hook_url = optarg; break;
		case ADDRESSES: o->addresses = optarg; break;
		case SAME: o->same = true; break;
		case PARTITIONS:
			ok = number(optarg, 1, 1024, &v);
			o->partitions = (uint32_t)v;
			break;
		case MESSAGES: ok = number(optarg, 1, 1000000000, &o->messages); break;
		case CHUNK:
			ok = number(optarg, 1, 1000, &v);
			o->chunk = (uint32_t)v;
			break;
		case BODY:
			ok = number(optarg, 1, 100000, &v);
			o->body_bytes = (uint32_t)v;
			break;
		case RATE: ok = number(optarg, 1, 100000000, &o->rate); break;
		case WINDOW:
			ok = number(optarg, 1, 100000, &v);
			o->window = (uint32_t)v;
			break;
		case TIMEOUT: ok = number(optarg, 1, 86400, &o->timeout_s); break;
		case MIX: ok = parse_mix(o, optarg); break;
		case VIA:
			ok = strcmp(optarg, "redis") == 0 || strcmp(optarg, "http") == 0;
			o->via_http = strcmp(optarg, "http") == 0;
			break;
		case LANE:
			ok = hm_lane_find(hm_str_c(optarg)) >= 0;
			if (ok)
				o->lane = (enum hm_lane)hm_lane_find(hm_str_c(optarg));
			break;
		case NO_WAIT: o->no_wait = true; break;
		case JSON: o->json = true; break;
		case QUIET: o->quiet = true; break;
		case HELP: fputs(usage, stdout); return 1;
		default: fprintf(stderr, "hermod-bench --help lists the options\n"); return 2;
		}
		if (!ok) {
			fprintf(stderr,
				"hermod-bench: \"%s\" is no good value here; --help tells what is expected\n",
				optarg);
			return 2;
		}
	}
	for (size_t i = 0; i < o->n_mix; i++) {
		if (o->mix[i].kind == ADDR_LIST && o->addresses == NULL) {
			fprintf(stderr,
				"hermod-bench: addresses of kind list are read from --addresses FILE\n");
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "hermod-bench: what is \"%s\"? --help lists the options\n", argv[optind]);
		return 2;
	}
	return 0;
}
