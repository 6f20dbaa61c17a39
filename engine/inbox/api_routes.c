/*
 * api_routes.c - what is served below /v1/inbox
 *
 * Users come with a token, which the handlers check; backends, below /v1/inbox/users, with an API key.
 */
#include "inbox/inbox_int.h"

#define INBOX "/v1/inbox"
#define ITEM  "/v1/inbox/{id}"
#define USER  "/v1/inbox/users/{user}"

const struct hm_http_route hm_inbox_routes[] = {
	{.method = HTTP_GET, .pattern = INBOX, .run = inbox_get_list},
	{.method = HTTP_GET, .pattern = INBOX "/counts", .run = inbox_get_counts},
	{.method = HTTP_GET, .pattern = INBOX "/stream", .run = inbox_get_stream},
	{.method = HTTP_POST, .pattern = INBOX "/ticket", .run = inbox_post_ticket},
	{.method = HTTP_POST, .pattern = INBOX "/read", .run = inbox_post_read},
	{.method = HTTP_POST, .pattern = INBOX "/unread", .run = inbox_post_unread},
	{.method = HTTP_POST, .pattern = INBOX "/archive", .run = inbox_post_archive},
	{.method = HTTP_POST, .pattern = INBOX "/unarchive", .run = inbox_post_unarchive},
	{.method = HTTP_POST, .pattern = INBOX "/delete", .run = inbox_post_delete},
	{.method = HTTP_GET, .pattern = ITEM, .run = inbox_get_item},
	{.method = HTTP_DELETE, .pattern = ITEM, .run = inbox_delete_item},
	{.method = HTTP_POST, .pattern = ITEM "/read", .run = inbox_post_read},
	{.method = HTTP_POST, .pattern = ITEM "/unread", .run = inbox_post_unread},
	{.method = HTTP_POST, .pattern = ITEM "/archive", .run = inbox_post_archive},
	{.method = HTTP_POST, .pattern = ITEM "/unarchive", .run = inbox_post_unarchive},
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = USER, .run = inbox_get_list},
	{.method = HTTP_DELETE, .scope = HM_SCOPE_SEND, .pattern = USER, .run = inbox_erase},
	{.method = HTTP_GET, .scope = HM_SCOPE_READ, .pattern = USER "/counts", .run = inbox_get_counts},
	{.method = HTTP_POST, .scope = HM_SCOPE_SEND, .pattern = USER "/read", .run = inbox_post_read},
	{.method = HTTP_POST, .scope = HM_SCOPE_SEND, .pattern = USER "/unread", .run = inbox_post_unread},
	{.method = HTTP_POST, .scope = HM_SCOPE_SEND, .pattern = USER "/archive", .run = inbox_post_archive},
	{.method = HTTP_POST,
	 .scope = HM_SCOPE_SEND,
	 .pattern = USER "/unarchive",
	 .run = inbox_post_unarchive},
	{.method = HTTP_POST, .scope = HM_SCOPE_SEND, .pattern = USER "/delete", .run = inbox_post_delete},
};
const size_t hm_inbox_routes_n = hm_countof(hm_inbox_routes);
