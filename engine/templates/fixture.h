/*
 * fixture.h - tests of templates: data in, texts out
 *
 * order/shipped.test.yaml beside order/shipped.yaml, or tests/order/shipped.test.yaml:
 *
 *   template: order/shipped          # default: the file's name
 *   locale: zh-CN                    # defaults of all cases: locale tz now data facts media
 *   cases:
 *     - name: with a tracking number
 *       data: {user: {name: 林小满}, tracking: SF123}
 *       tz: Asia/Shanghai            # like a recipient's
 *       now: 2026-05-01T08:00:00Z    # default: 2026-01-01T00:00:00Z, so that a test gives the same tomorrow
 *       facts: {left: 3}             # those not given have their fallback
 *       expect:
 *         sms: {body: "Your parcel SF123 is on its way"}      # by medium, or by a channel of the configuration
 *         push: {title: "...", body: "..."}                   # only what stands here is compared; null: must not be there
 *     - name: nobody's name
 *       data: {}
 *       media: [sms, push]           # default with `error`: all media
 *       error: user.name             # every medium fails, and the reason has this in it
 *
 * An expected medium may be {error: "..."}, too. With `update`, what failed is replaced by what came out: the lines of its
 * `expect`, nothing else of the file; a case without one gets it for its `media`. Compared is what the template gives; how a
 * channel cuts or marks it up is shown by the preview.
 *
 * Threads: any. Memory: the heap, given back before return, but for the buffers.
 */
#ifndef HM_TEMPLATES_FIXTURE_H
#define HM_TEMPLATES_FIXTURE_H

#include "content/content.h"

#define HM_FIXTURE_NOW_MS UINT64_C(1767225600000)

struct hm_fixture_opts {
	const struct hm_config *cfg;
	const struct hm_template_set *set; /* where templates and fragments are looked up */
	bool update;
};
struct hm_fixture_result {
	size_t passed, failed, updated;
	const struct hm_template *tmpl; /* the one it was about, of the set; NULL: not found */
};
/* Runs all cases of a file. Sentences and diffs go to `out`; with o->update the file's new text to `text` when it
 * changed. A file that cannot be read or has no case counts as one failure. */
void hm_fixture_run(struct hm_str name, const char *path, struct hm_str yaml, const struct hm_fixture_opts *o,
		    struct hm_buf *out, struct hm_buf *text, struct hm_fixture_result *r);

#endif
