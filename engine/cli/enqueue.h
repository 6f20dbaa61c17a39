/*
 * enqueue.h - hermod enqueue FILE: JSON Lines or CSV straight into the queue
 *
 * hermod enqueue FILE|- [--format jsonl|csv] [--channel C | --route R] [--template T]
 *        [--lane L] [--campaign X] [--category X] [--tenant X] [--tag T]... [--at TIME] [--expires TIME]
 *        [--rate N] [--rejects FILE] [--no-progress] [--redis URL] [--config F] [--set S.KEY=VALUE]
 *
 * A line of JSON is a message as POST /v1/messages takes it; options fill in what the
 * line leaves out. A CSV file has a header row: to, user, locale, tz, addr.<medium or
 * channel>, data.<name> (data.<name>:number, :bool or :json to give the type), and any
 * of the keys a message has (channel, template, campaign, at ...).
 *
 * Exit codes: 0 everything is in the queue; 1 lines were refused or the queue failed;
 * 2 wrong use.
 */
#ifndef HM_CLI_ENQUEUE_H
#define HM_CLI_ENQUEUE_H

int hm_cli_enqueue(int argc, char **argv);

#endif
