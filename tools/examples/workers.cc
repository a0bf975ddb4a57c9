// slipway-workers: a pool that shares work. Each request goes to any one worker, who answers; a request that nobody acknowledges
// is tried again, perhaps at another worker. No set-up, no order, no encryption from end to end.
//
//   slipway-workers work org/team/upper                     as many of these as you like
//   slipway-workers ask org/team/upper 'some text' --times 100

#include <algorithm>
#include <cctype>
#include <map>
#include <unistd.h>

#include "example.h"

using namespace slipway;
using namespace slipway::example;
using std::chrono::milliseconds;

namespace {

// The work: in capitals.
std::string do_work(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

int work(const std::string& service, const std::string& node) {
  const auto app = connected_app(service, node);
  std::printf("working as %s\n", app->name().shown().c_str());
  std::fflush(stdout);
  // One session object for each asker; a loop over them serves all.
  std::vector<std::unique_ptr<BlockingSession>> askers;
  while (true) {
    if (auto asker = app->listen_for_session(askers.empty() ? milliseconds(1'000) : milliseconds(0))) {
      askers.push_back(std::move(*asker));
    }
    for (std::size_t i = 0; i < askers.size(); ++i) {
      const auto request = askers[i]->get_message(milliseconds(1));
      if (request) {
        // An acknowledged answer: we learn when the asker is gone.
        (void)askers[i]->publish_to(*request, do_work(std::string(text_of(request->payload))));
      } else if (request.error().session == SessionFault::kClosed) {
        askers.erase(askers.begin() + static_cast<std::ptrdiff_t>(i--));
      }
    }
  }
}

int ask(const std::string& service, const std::string& text, const CommandLine& line) {
  const auto app = connected_app("examples/workers/asker-" + std::to_string(::getpid()), line.node);
  const auto session = get(app->create_session(AnycastOptions{.timeout = milliseconds(1'000), .max_retries = 5}));
  std::map<std::string, int> answered_by;
  for (int i = 0; i < line.copies; ++i) {
    auto sent = get(session->publish_with_destination(text, name_of(service)));
    const auto answer = get(session->get_message());
    get(sent.wait());
    ++answered_by[answer.source.shown()];
    if (i == 0) {
      std::printf("%.*s\n", static_cast<int>(size_of(answer.payload)), text_of(answer.payload).data());
    }
  }
  for (const auto& [worker, times] : answered_by) {
    std::printf("%d by %s\n", times, worker.c_str());
  }
  return 0;
}

}  // namespace

int main(int count, char** values) {
  const CommandLine line(count, values);
  if (line.words.size() == 2 && line.words[0] == "work") {
    return work(line.words[1], line.node);
  }
  if (line.words.size() == 3 && line.words[0] == "ask") {
    return ask(line.words[1], line.words[2], line);
  }
  give_up("usage: slipway-workers work SERVICE | ask SERVICE TEXT [--times N]   [--node ADDRESS]");
}
