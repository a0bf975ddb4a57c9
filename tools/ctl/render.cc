#include "render.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "table.h"

namespace slipway::ctl {
namespace {

using Json = nlohmann::json;

Json parse(const std::string& text) {
  auto json = Json::parse(text, nullptr, false);
  return json.is_discarded() ? Json::object() : json;
}

// A member by a path of keys; null when it is not there.
const Json& at(const Json& json, std::initializer_list<const char*> path) {
  static const Json kNull;
  const Json* here = &json;
  for (const char* key : path) {
    if (!here->is_object() || !here->contains(key)) {
      return kNull;
    }
    here = &(*here)[key];
  }
  return *here;
}
std::string text(const Json& json, std::initializer_list<const char*> path) {
  const Json& found = at(json, path);
  return found.is_string() ? found.get<std::string>() : found.is_null() ? "" : found.dump(-1, ' ', false, Json::error_handler_t::replace);
}
std::uint64_t number(const Json& json, std::initializer_list<const char*> path) {
  const Json& found = at(json, path);
  return found.is_number_unsigned() ? found.get<std::uint64_t>() : found.is_number() ? static_cast<std::uint64_t>(std::max(0.0, found.get<double>())) : 0;
}
double real(const Json& json, std::initializer_list<const char*> path) {
  const Json& found = at(json, path);
  return found.is_number() ? found.get<double>() : 0;
}
bool truth(const Json& json, std::initializer_list<const char*> path) {
  const Json& found = at(json, path);
  return found.is_boolean() && found.get<bool>();
}
std::string counted(const Json& json, std::initializer_list<const char*> path) { return count_text(number(json, path)); }
std::string joined(const Json& list) {
  std::string out;
  for (const auto& one : list) {
    out += (out.empty() ? "" : ", ") + (one.is_string() ? one.get<std::string>() : one.dump());
  }
  return out;
}
Json items(const Json& json, const char* key) {
  const Json& found = at(json, {key});
  return found.is_array() ? found : Json::array();
}
// 0 is "none" for links.
std::string link_text(const Json& json, const char* key) {
  const auto link = number(json, {key});
  return link == 0 ? "" : std::to_string(link);
}

constexpr Column left(const char* title) { return {title, Align::kLeft}; }
constexpr Column right(const char* title) { return {title, Align::kRight}; }

}  // namespace

std::string render_version(const std::string& json) {
  const Json j = parse(json);
  return fmt::format("{} {} ({}, native frame {})\n", safe_text(text(j, {"name"})), safe_text(text(j, {"version"})), safe_text(text(j, {"dpdk"})), number(j, {"frame_version"}));
}

std::string render_status(const std::string& json) {
  const Json j = parse(json);
  std::string out = facts({
      {"node", text(j, {"node_id"})},
      {"state", fmt::format("{}, up {}, ready {} ms after start, process {}", text(j, {"state"}), duration_text(number(j, {"uptime_ms"})), number(j, {"ready_ms"}), number(j, {"pid"}))},
      {"version", text(j, {"version"})},
      {"configuration", text(j, {"config"})},
      {"log level", text(j, {"log_level"})},
      {"workers, ports", fmt::format("{}, {}", number(j, {"workers"}), number(j, {"ports"}))},
      {"links", fmt::format("{} up, {} greeting, {} closing, {} stalled; at most {}", number(j, {"links", "up"}), number(j, {"links", "greeting"}),
                            number(j, {"links", "closing"}), number(j, {"links", "stalled"}), number(j, {"links", "limit"}))},
      {"subscriptions", counted(j, {"routes"})},
      {"frames", fmt::format("{} in and {} of its own: {} forwarded in {} copies, {} for the node itself, {} dropped, {} held", counted(j, {"frames_in"}), counted(j, {"injected"}),
                             counted(j, {"forwarded"}), counted(j, {"sent"}), counted(j, {"punted"}), counted(j, {"dropped"}), counted(j, {"held"}))},
      {"buffer budget", fmt::format("{} of {}", bytes_text(number(j, {"budget", "used_bytes"})), bytes_text(number(j, {"budget", "limit_bytes"})))},
      {"huge pages", truth(j, {"huge_pages"}) ? "yes" : "no"},
  });
  for (const auto& warning : items(j, "warnings")) {
    out += "warning: " + safe_text(warning.is_string() ? warning.get<std::string>() : warning.dump()) + "\n";
  }
  return out;
}

std::string render_ports(const std::string& json) {
  const Json j = parse(json);
  std::string out;
  Table ports({right("PORT"), left("NAME"), left("DEVICE"), left("DRIVER"), left("STATE"), left("ADDRESSES"), left("MAC"), right("VLAN"), right("MTU"), right("UDP"), left("QUEUES"),
               right("RX"), right("TX"), right("MISSED"), left("LAST ERROR")});
  std::string neighbors;
  for (const auto& p : items(j, "ports")) {
    const auto mbps = number(p, {"mbps"});
    const std::string state = !truth(p, {"open"}) ? "gone" : !truth(p, {"up"}) ? "down" : mbps == 0 ? "up" : fmt::format("up {} Mb/s", mbps);
    ports.add({text(p, {"port"}), text(p, {"name"}), text(p, {"device"}), text(p, {"driver"}), state, joined(items(p, "addresses")), text(p, {"mac"}),
               number(p, {"vlan"}) == 0 ? "" : text(p, {"vlan"}), text(p, {"mtu"}), text(p, {"udp_port"}), fmt::format("{} rx, {} tx", number(p, {"rx_queues"}), number(p, {"tx_queues"})),
               counted(p, {"counters", "rx_packets"}), counted(p, {"counters", "tx_packets"}), counted(p, {"counters", "rx_missed"}), text(p, {"last_error"})});
    for (const auto& n : items(p, "neighbors")) {
      neighbors += fmt::format("  {}: {} is {}\n", safe_text(text(p, {"name"})), safe_text(text(n, {"address"})),
                               truth(n, {"resolved"}) ? "at " + safe_text(text(n, {"mac"})) : std::string("not resolved"));
    }
  }
  out += ports.empty() ? "no DPDK ports\n" : ports.text();
  if (!neighbors.empty()) {
    out += "\nneighbours\n" + neighbors;
  }
  Table listeners({left("LISTENER"), left("WORKER"), right("ACCEPTED"), right("REFUSED"), left("LAST ERROR")});
  for (const auto& l : items(j, "listeners")) {
    listeners.add({text(l, {"address"}), text(l, {"worker"}), counted(l, {"accepted"}), counted(l, {"refused"}), text(l, {"last_error"})});
  }
  if (!listeners.empty()) {
    out += "\n" + listeners.text();
  }
  return out;
}

std::string render_links(const std::string& json) {
  const Json j = parse(json);
  Table links({right("LINK"), left("STATE"), left("CLASS"), left("VIA"), left("PEER"), left("WHO"), left("WORKER"), right("SUBS"), right("IN"), right("OUT"), right("QUEUED"), right("DROPS"),
               right("IDLE"), left("LAST ERROR")});
  for (const auto& l : items(j, "links")) {
    std::uint64_t dropped = 0;
    for (const auto& [reason, count] : at(l, {"drops"}).items()) {
      dropped += count.is_number_unsigned() ? count.get<std::uint64_t>() : 0;
    }
    links.add({text(l, {"link"}), truth(l, {"stalled"}) ? "stalled" : text(l, {"state"}), text(l, {"class"}), text(l, {"transport"}), text(l, {"peer"}), text(l, {"node_id"}), text(l, {"worker"}),
               counted(l, {"subscriptions"}), counted(l, {"frames_in"}), counted(l, {"frames_sent"}), number(l, {"queued_bytes"}) == 0 ? "0" : bytes_text(number(l, {"queued_bytes"})),
               count_text(dropped), duration_text(number(l, {"idle_ms"})), text(l, {"last_error"})});
  }
  std::string out = links.empty() ? "no links\n" : links.text();
  Table edges({right("UPSTREAM"), left("VERSION"), left("MAC"), left("KEY"), left("TLS"), left("CERTIFICATE"), left("USER"), left("LINK ID")});
  for (const auto& l : items(j, "links")) {
    if (at(l, {"edge"}).is_object()) {
      edges.add({text(l, {"link"}), text(l, {"version"}), truth(l, {"edge", "mac"}) ? "yes" : "no", text(l, {"edge", "key_agreement"}), text(l, {"edge", "tls"}),
                 text(l, {"edge", "certificate"}), text(l, {"edge", "user"}), text(l, {"edge", "link_id"})});
    }
  }
  if (!edges.empty()) {
    out += "\n" + edges.text();
  }
  Table connect({left("CONNECT"), left("ADDRESS"), left("CLASS"), left("STATE"), right("LINK"), right("ATTEMPTS"), left("LAST ERROR")});
  for (const auto& c : items(j, "connect")) {
    connect.add({text(c, {"name"}), text(c, {"address"}), text(c, {"class"}), text(c, {"state"}), link_text(c, "link"), text(c, {"attempts"}), text(c, {"last_error"})});
  }
  if (!connect.empty()) {
    out += "\n" + connect.text();
  }
  Table recent({right("CLOSED"), left("AGO"), left("PEER"), left("WHO"), left("WHY")});
  for (const auto& c : items(j, "recent")) {
    recent.add({text(c, {"link"}), duration_text(number(c, {"ago_ms"})), text(c, {"peer"}), text(c, {"node_id"}), text(c, {"reason"})});
  }
  if (!recent.empty()) {
    out += "\n" + recent.text();
  }
  if (const auto next = number(j, {"next"}); next != 0) {
    out += fmt::format("\nthere are more: slipwayctl links --after {}\n", next);
  }
  return out;
}

std::string render_routes(const std::string& json) {
  const Json j = parse(json);
  Table table({left("NAME"), right("LOCAL"), right("EDGE"), right("PEER"), right("REMOTE"), right("LINK")});
  for (const auto& r : items(j, "routes")) {
    table.add({text(r, {"name"}), text(r, {"local"}), text(r, {"edge"}), text(r, {"peer"}), text(r, {"remote"}), link_text(r, "link")});
  }
  std::string out = table.empty() ? "nobody has subscribed to anything\n" : table.text();
  if (const auto next = number(j, {"next"}); next != 0) {
    out += fmt::format("\n{} names in all; more: slipwayctl routes --after {}\n", counted(j, {"total"}), next);
  }
  return out;
}

std::string render_explain(const std::string& json) {
  const Json j = parse(json);
  std::string out = "name       " + safe_text(text(j, {"name"})) + "\n";
  out += "from       " + (number(j, {"from"}) == 0 ? std::string("nowhere in particular (--from LINK asks for a frame of that link)") : "link " + text(j, {"from"})) + "\n";
  const auto total = number(j, {"total"});
  out += fmt::format("matches    {}\n", total);
  Table table({right("LINK"), left("CLASS"), left("PEER"), left("WHO"), right("IDS"), left("ANYCAST"), left("WHY NOT")});
  for (const auto& m : items(j, "matches")) {
    const std::string why = truth(m, {"is_ingress"}) ? "the frame came from it" : !truth(m, {"class_allowed"}) ? "a rule forbids its class" : !truth(m, {"candidate"}) ? "a nearer class has a subscriber" : "";
    table.add({text(m, {"link"}), text(m, {"class"}), text(m, {"peer"}), text(m, {"node_id"}), text(m, {"ids"}), truth(m, {"candidate"}) ? "candidate" : "no", why});
  }
  if (!table.empty()) {
    out += "\n" + table.text() + "\n";
  }
  if (items(j, "matches").size() < total) {
    out += fmt::format("({} of {} matches are shown)\n", items(j, "matches").size(), total);
  }
  out += "to one     " + safe_text(text(j, {"anycast"})) + "\n";
  out += "to all     " + safe_text(text(j, {"multicast"})) + "\n";
  out += "dropped    " + (at(j, {"drop"}).is_null() ? std::string("no rule would drop it") : safe_text(text(j, {"drop"}))) + "\n";
  return out;
}

std::string render_drops(const std::string& json) {
  const Json j = parse(json);
  auto drops = items(j, "drops");
  std::stable_sort(drops.begin(), drops.end(), [](const Json& a, const Json& b) { return number(a, {"count"}) > number(b, {"count"}); });
  std::string out;
  for (const auto& d : drops) {
    if (number(d, {"count"}) == 0) {
      continue;
    }
    out += fmt::format("{:>12}  {}: {}\n", counted(d, {"count"}), safe_text(text(d, {"reason"})), safe_text(text(d, {"what"})));
    out += fmt::format("{:>12}  what to do: {}\n", "", safe_text(text(d, {"advice"})));
    for (const auto& l : items(d, "links")) {
      out += fmt::format("{:>12}  {} on link {} ({})\n", "", counted(l, {"count"}), number(l, {"link"}), safe_text(text(l, {"peer"})));
    }
  }
  return out.empty() ? "nothing has been dropped\n" : out + fmt::format("{:>12}  in all\n", counted(j, {"total"}));
}

std::string render_books(const std::string& json) {
  const Json j = parse(json);
  Table frames({left("FRAMES"), right("IN"), right("INJECTED"), right("FORWARDED"), right("PUNTED"), right("CONSUMED"), right("DROPPED"), right("WAITING"), right("DIFFERENCE")});
  Table copies({left("COPIES"), right("MADE"), right("TAKEN OVER"), right("SENT"), right("GIVEN OVER"), right("DROPPED"), right("HELD"), right("DIFFERENCE")});
  auto rows = items(j, "workers");
  rows.push_back(at(j, {"total"}));
  for (const auto& r : rows) {
    frames.add({text(r, {"worker"}), counted(r, {"frames", "in"}), counted(r, {"frames", "injected"}), counted(r, {"frames", "forwarded"}), counted(r, {"frames", "punted"}),
                counted(r, {"frames", "consumed"}), counted(r, {"frames", "dropped"}), counted(r, {"frames", "waiting"}), text(r, {"frames", "difference"})});
    copies.add({text(r, {"worker"}), counted(r, {"copies", "made"}), counted(r, {"copies", "handoff_in"}), counted(r, {"copies", "sent"}), counted(r, {"copies", "handoff_out"}),
                counted(r, {"copies", "dropped"}), counted(r, {"copies", "held"}), text(r, {"copies", "difference"})});
  }
  return frames.text() + "\n" + copies.text() + "\n" +
         (truth(j, {"balanced"}) ? "The books balance: every frame received was forwarded, handed up or dropped for a reason, and every copy was sent, dropped or is held.\n"
                                 : "The books do NOT balance: see the differences.\n");
}

bool books_balance(const std::string& json) { return truth(parse(json), {"balanced"}); }

std::string render_workers(const std::string& json) {
  const Json j = parse(json);
  Table table({left("WORKER"), left("KIND"), right("CPU"), left("STATE"), right("BUSY"), right("CYCLES/FRAME"), right("FRAMES/BURST"), right("LONGEST LOOP"), right("SLOW LOOPS"), right("FRAMES IN"), right("SENT"),
               right("SYSCALLS"), right("WAITING")});
  std::string sockets;
  for (const auto& w : items(j, "workers")) {
    table.add({text(w, {"name"}), text(w, {"kind"}), real(w, {"cpu"}) < 0 ? "any" : text(w, {"cpu"}), truth(w, {"running"}) ? "running" : "stopped", percent_text(real(w, {"busy_share"})),
               fmt::format("{:.0f}", real(w, {"cycles_per_frame"})), fmt::format("{:.1f}", real(w, {"frames_per_burst"})), fmt::format("{:.0f} us", real(w, {"longest_loop_us"})),
               counted(w, {"counters", "slow_loops"}), counted(w, {"counters", "frames_in"}), counted(w, {"counters", "sent"}), counted(w, {"counters", "syscalls"}),
               counted(w, {"commands_waiting"})});
    if (!text(w, {"sockets"}).empty()) {
      sockets += fmt::format("io_uring of {}: {}\n", safe_text(text(w, {"name"})), safe_text(text(w, {"sockets"})));
    }
  }
  std::string out = table.text();
  if (!sockets.empty()) {
    out += "\n" + sockets;
  }
  Table control({right("COUNT"), left("CONTROL THREAD")});
  for (const auto& [name, value] : at(j, {"control"}).items()) {
    if (value.is_number_unsigned() && value.get<std::uint64_t>() != 0) {
      control.add({count_text(value.get<std::uint64_t>()), name});
    }
  }
  return control.empty() ? out : out + "\n" + control.text();
}

std::string render_memory(const std::string& json) {
  const Json j = parse(json);
  // With a handful of routes the quotient is about what the first route costs, which tells nothing.
  const auto a_route = [&](const char* key) {
    return number(j, {"routing", "routes"}) < 1000 ? std::string() : fmt::format(", {:.1f} B a route", real(j, {"routing", key}));
  };
  std::string out = facts({
      {"resident", bytes_text(number(j, {"resident_bytes"}))},
      {"accounted for", fmt::format("{}: DPDK heap, sockets, rings, tables and database; resident as far as used", bytes_text(number(j, {"accounted_bytes"})))},
      {"DPDK heap", fmt::format("{}, {}", bytes_text(number(j, {"dpdk", "heap_bytes"})), text(j, {"dpdk", "summary"}))},
      {"buffer budget", fmt::format("{} of {}", bytes_text(number(j, {"budget", "used_bytes"})), bytes_text(number(j, {"budget", "limit_bytes"})))},
      {"sockets", fmt::format("{} of receive buffers{}", bytes_text(number(j, {"workers", "receive_bytes"})), truth(j, {"workers", "receive_in_heap"}) ? ", in the DPDK heap" : "")},
      {"rings", fmt::format("{} between the control thread and the workers", bytes_text(number(j, {"workers", "ring_bytes"})))},
      {"routes", fmt::format("{} of at most {}; {} names in the tables", counted(j, {"routing", "routes"}), counted(j, {"routing", "route_limit"}), counted(j, {"routing", "names"}))},
      {"a worker's table", fmt::format("{}{}; {} copies", bytes_text(number(j, {"routing", "table_bytes"})), a_route("table_bytes_per_route"), number(j, {"routing", "table_copies"}))},
      {"database", fmt::format("{}, of which text {}{}", bytes_text(number(j, {"routing", "database_bytes"})), bytes_text(number(j, {"routing", "text_bytes"})),
                               a_route("bytes_per_route").empty() ? "" : "; with one table" + a_route("bytes_per_route").substr(1))},
  });
  Table pools({left("POOL"), right("BUFFERS"), right("FREE"), right("SIZE")});
  for (const auto& p : items(j, "pools")) {
    pools.add({text(p, {"name"}), counted(p, {"buffers"}), counted(p, {"free"}), bytes_text(number(p, {"bytes"}))});
  }
  return pools.empty() ? out : out + "\n" + pools.text();
}

std::string render_config(const std::string& json) {
  const Json j = parse(json);
  std::string out = "from " + safe_text(text(j, {"source"})) + "\n";
  for (const auto& line : items(j, "running")) {
    out += "  " + safe_text(line.is_string() ? line.get<std::string>() : line.dump()) + "\n";
  }
  return out;
}

std::string render_channels(const std::string& json) {
  const Json j = parse(json);
  Table table({left("CHANNEL"), left("STATE"), left("MLS"), right("MEMBERS"), right("WAITING"), right("EPOCH"), left("CREATED BY")});
  bool any_mls = false;
  for (const auto& c : items(j, "channels")) {
    const bool mls = truth(c, {"mls"});
    any_mls |= mls;
    table.add({text(c, {"name"}), text(c, {"state"}), mls ? "yes, the node could read" : "no", text(c, {"members_count"}), text(c, {"waiting"}),
               mls ? text(c, {"epoch"}) : "", text(c, {"created_by"})});
  }
  std::string out = table.empty() ? "no channels\n" : table.text();
  out += fmt::format("\nthe node is {}{}\n", safe_text(text(j, {"local_name"})),
                     truth(j, {"file_managed"}) ? "; the channels are those of its configuration file" : "");
  if (any_mls) {
    out += "in a channel with MLS the node is a member of the group: it has the keys and could read\n";
  }
  return out;
}

std::string render_channel(const std::string& json) {
  const Json j = parse(json);
  const bool mls = truth(j, {"mls"});
  std::string out = facts({
      {"channel", text(j, {"name"})},
      {"state", text(j, {"state"}) + (truth(j, {"restored"}) ? ", gone on after a restart" : "")},
      {"encryption", mls ? fmt::format("MLS, epoch {}. The node is a member of the group: it has the keys and could read", number(j, {"epoch"}))
                         : std::string("none: every node on the way can read")},
      {"session", text(j, {"session"})},
      {"created by", text(j, {"created_by"})},
      {"waiting", fmt::format("{} invites and removals", number(j, {"waiting"}))},
  });
  Table members({left("MEMBER"), left("STATE")});
  for (const auto& m : items(j, "members")) {
    members.add({text(m, {"name"}), std::string(truth(m, {"online"}) ? "online" : "offline") + (truth(m, {"moderator"}) ? ", this node: moderator" : "")});
  }
  return out + "\n" + members.text();
}

std::string render_reload(const std::string& json) {
  const Json j = parse(json);
  std::string out;
  for (const auto& line : items(j, "changed")) {
    out += "changed: " + safe_text(line.is_string() ? line.get<std::string>() : line.dump()) + "\n";
  }
  for (const auto& line : items(j, "needs_restart")) {
    out += "needs a restart: " + safe_text(line.is_string() ? line.get<std::string>() : line.dump()) + "\n";
  }
  return out.empty() ? "nothing changed\n" : out;
}

std::string render_trace_line(const std::string& json) {
  const Json j = parse(json);
  constexpr std::array kKinds = {"?", "publish", "subscribe", "unsubscribe", "ack", "link"};
  const auto kind = number(j, {"kind"});
  const auto ns = number(j, {"time_ns"});
  std::string out = fmt::format("{:02}:{:02}:{:02}.{:06}  link {} > {}, {} B", ns / 3'600'000'000'000 % 24, ns / 60'000'000'000 % 60, ns / 1'000'000'000 % 60, ns % 1'000'000'000 / 1000,
                                number(j, {"from"}), kind < kKinds.size() ? kKinds[kind] : "?", number(j, {"bytes"}));
  if (at(j, {"destination"}).is_string()) {
    const auto fanout = number(j, {"fanout"});
    out += fmt::format(" to {} ({}), hop limit {}", safe_text(text(j, {"destination"})), fanout == 1 ? "one" : "all", number(j, {"hop_limit"}));
    if (number(j, {"session"}) != 0 || number(j, {"message"}) != 0) {
      out += fmt::format(", session {} message {}", number(j, {"session"}), number(j, {"message"}));
    }
  }
  std::string classes;
  for (const char* one : {"local", "edge", "peer", "remote"}) {
    if (const auto count = number(j, {"candidates", one}); count != 0) {
      classes += fmt::format("{}{} {}", classes.empty() ? "" : ", ", count, one);
    }
  }
  if (!classes.empty()) {
    out += "\n                 matched " + classes;
  }
  return out + "\n                 " + safe_text(text(j, {"verdict"})) + "\n";
}

}  // namespace slipway::ctl
