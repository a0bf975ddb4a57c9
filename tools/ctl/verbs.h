#pragma once
// What the verbs do. Each returns the process's exit code and prints what went wrong itself.

#include "arguments.h"

namespace slipway::ctl {

// verbs_node.cc: one question, one answer
int verb_status(const Arguments&);
int verb_ports(const Arguments&);
int verb_links(const Arguments&);
int verb_routes(const Arguments&);
int verb_explain(const Arguments&);
int verb_drops(const Arguments&);
int verb_books(const Arguments&);
int verb_workers(const Arguments&);
int verb_memory(const Arguments&);
int verb_config(const Arguments&);
int verb_version(const Arguments&);
int verb_stop(const Arguments&);
int verb_reload(const Arguments&);
int verb_route_add(const Arguments&);
int verb_route_del(const Arguments&);
int verb_log_level(const Arguments&);
int verb_close(const Arguments&);
int verb_channel_list(const Arguments&);
int verb_channel_show(const Arguments&);
int verb_channel_create(const Arguments&);
int verb_channel_delete(const Arguments&);
int verb_channel_invite(const Arguments&);
int verb_channel_remove(const Arguments&);
int verb_trace(const Arguments&);
int verb_capture(const Arguments&);

int verb_top(const Arguments&);        // top.cc
int verb_pub(const Arguments&);        // messaging.cc
int verb_sub(const Arguments&);
int verb_instances(const Arguments&);
int verb_session_listen(const Arguments&);  // session.cc
int verb_session_send(const Arguments&);
int verb_session_invite(const Arguments&);
int verb_bench(const Arguments&);      // bench.cc
int verb_doctor(const Arguments&);     // doctor.cc
int verb_preflight(const Arguments&);  // preflight.cc
std::string preflight_json(const std::string& text, bool good);

}  // namespace slipway::ctl
