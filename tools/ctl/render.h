#pragma once
// What the control API answers, as tables. Pure: JSON text in, text out; tested with recorded answers. A field that
// an older or newer node does not send shows as "-" or 0.

#include <string>

namespace slipway::ctl {

std::string render_status(const std::string& json);
std::string render_ports(const std::string& json);
std::string render_links(const std::string& json);
std::string render_routes(const std::string& json);
std::string render_explain(const std::string& json);
std::string render_drops(const std::string& json);
std::string render_books(const std::string& json);
std::string render_workers(const std::string& json);
std::string render_memory(const std::string& json);
std::string render_config(const std::string& json);
std::string render_version(const std::string& json);
std::string render_channels(const std::string& json);
std::string render_channel(const std::string& json);
std::string render_reload(const std::string& json);
std::string render_trace_line(const std::string& json);

[[nodiscard]] bool books_balance(const std::string& json);

}  // namespace slipway::ctl
