#include "app/loop_thread.h"

namespace slipway {

std::expected<std::shared_ptr<LoopThread>, AppError> LoopThread::start() {
  auto loop = Loop::create();
  if (!loop) {
    return std::unexpected(AppError(AppFault::kTooMany, loop.error()));
  }
  return std::shared_ptr<LoopThread>(new LoopThread(std::move(*loop)));
}

LoopThread::LoopThread(std::unique_ptr<Loop> loop) : loop_(std::move(loop)), thread_([this] { loop_->run(); }) {}

LoopThread::~LoopThread() {
  while (!loop_->post([this] { loop_->stop(); })) {
    std::this_thread::yield();
  }
  thread_.join();
}

}  // namespace slipway
