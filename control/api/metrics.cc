// OpenMetrics text (openmetrics.io, 1.0): the same registry of counters that JSON shows.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "api/api.h"

namespace slipway {

namespace {

// These go up and down; every other worker counter only grows.
bool is_gauge(std::string_view name) { return name == "held" || name == "held_bytes" || name == "partial_bytes" || name == "longest_loop_cycles"; }

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') {
      out += '\\';
    }
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

class Page {
 public:
  void family(std::string_view name, bool gauge, std::string_view help, std::string_view prefix = "slipway") {
    name_ = fmt::format("{}_{}", prefix, name);
    fmt::format_to(std::back_inserter(out_), "# TYPE {} {}\n# HELP {} {}\n", name_, gauge ? "gauge" : "counter", name_, help);
    suffix_ = gauge ? "" : "_total";
  }
  template <class T>
  void value(std::string_view labels, T value) {
    fmt::format_to(std::back_inserter(out_), "{}{}{}{}{} {}\n", name_, suffix_, labels.empty() ? "" : "{", labels, labels.empty() ? "" : "}", value);
  }
  std::string end() { return std::move(out_) + "# EOF\n"; }

 private:
  std::string out_;
  std::string name_;
  std::string_view suffix_;
};

void workers_page(Page& page, const std::vector<WorkerRow>& workers, const ControlCounters& control) {
  for (std::size_t i = 0; i < kWorkerCounterTexts.size(); ++i) {
    const auto& text = kWorkerCounterTexts[i];
    page.family(fmt::format("worker_{}", text.name), is_gauge(text.name), text.text);
    for (const auto& worker : workers) {
      page.value(fmt::format("worker=\"{}\"", escaped(worker.name)), worker.counters[i]);
    }
  }
  page.family("drops", false, "frames, copies and packets dropped, by reason");
  for (const auto& worker : workers) {
    for (std::size_t i = 0; i < kDropReasonCount; ++i) {
      page.value(fmt::format("worker=\"{}\",reason=\"{}\"", escaped(worker.name), kDropReasonTexts[i].name), worker.drops[i]);
    }
  }
  page.value(fmt::format("worker=\"control\",reason=\"{}\"", drop_reason_text(DropReason::kLinkRefused).name), control.links_turned_away);
}

void ports_page(Page& page, const std::vector<PortRow>& ports) {
  page.family("port_up", true, "whether the port has a carrier");
  for (const auto& port : ports) {
    page.value(fmt::format("port=\"{}\"", escaped(port.name)), port.up ? 1 : 0);
  }
  if (ports.empty()) {
    return;
  }
  for (std::size_t i = 0; i < ports.front().counters.size(); ++i) {
    page.family(fmt::format("port_{}", ports.front().counters[i].first), false, "of the device");
    for (const auto& port : ports) {
      page.value(fmt::format("port=\"{}\"", escaped(port.name)), port.counters[i].second);
    }
  }
}

// Under the names that dashboards made for upstream's node ask for (upstream-control 15), also where its labels are odd.
void upstream_page(Page& page, const StatusRow& status, const ControlCounters& counters) {
  page.family("num_active_connections", true, "links that are up", "slim");
  page.value("", status.links_up);
  page.family("num_messages_by_type", false, "messages taken, by type", "slim");
  page.value("message_type=\"subscribe\"", counters.subscriptions);
  page.value("message_type=\"unsubscribe\"", counters.unsubscriptions);
  page.value("method=\"publish\"", status.frames_in - std::min(status.punted, status.frames_in));
  page.family("num_processed_messages", false, "messages taken", "slim");
  page.value("", status.frames_in);
  page.family("num_message_process_errors", false, "messages and copies dropped", "slim");
  page.value("", status.dropped);
}

}  // namespace

std::string open_metrics(ApiBackend& backend) {
  Page page;
  const auto status = backend.status();
  page.family("uptime_seconds", true, "since the node started");
  page.value("", static_cast<double>(status.uptime_ms) / 1000);
  page.family("links", true, "links by state");
  page.value("state=\"up\"", status.links_up);
  page.value("state=\"greeting\"", status.links_greeting);
  page.value("state=\"closing\"", status.links_closing);
  page.value("state=\"stalled\"", status.links_stalled);
  page.family("routes", true, "subscriptions held");
  page.value("", status.routes);
  page.family("budget_used_bytes", true, "bytes that the node holds");
  page.value("", status.budget_used_bytes);
  const auto counters = backend.control_counters();
  for (const auto& text : kControlCounterTexts) {
    page.family(fmt::format("control_{}", text.name), false, text.text);
    page.value("", counters.*text.field);
  }
  upstream_page(page, status, counters);
  workers_page(page, backend.workers(), counters);
  ports_page(page, backend.ports());
  return page.end();
}

}  // namespace slipway
