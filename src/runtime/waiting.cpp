#include "runtime/waiting.hpp"

#include <utility>

#include "runtime/executor.hpp"

namespace dbos::runtime {

namespace {

client::WaitOptions inside(client::WaitOptions options) {
    options.inside = true;
    return options;
}

}  // namespace

Waiting::~Waiting() {
    for (const Source& source : sources_) {
        if (source.wait) executor_.hub().withdraw(source.wait);
        if (source.mailbox) executor_.mailboxes().remove(source.mailbox);
    }
}

std::size_t Waiting::add_source() {
    std::lock_guard lock(mutex_);
    sources_.emplace_back();
    return sources_.size() - 1;
}

void Waiting::tell(std::size_t source, Told told) noexcept {
    std::function<void()> target;
    {
        std::lock_guard lock(mutex_);
        sources_[source].told = std::move(told);
        if (!std::exchange(sources_[source].is_news, true)) news_.push_back(source);
        target = target_;
    }
    if (target) target();
}

template <class T, class Add>
std::size_t Waiting::on_hub(T Told::* part, Add add) {
    const std::size_t n = add_source();
    // The callback holds no reference: a wait that is being told while it is withdrawn finds nobody.
    const auto id = add([weak = weak_from_this(), n, part](auto value, std::exception_ptr error) {
        const auto self = weak.lock();
        if (!self) return;
        Told told{.error = std::move(error)};
        if (!told.error) told.*part = std::move(value);
        self->tell(n, std::move(told));
    });
    std::lock_guard lock(mutex_);
    sources_[n].wait = id;
    return n;
}

std::size_t Waiting::on_result(const std::string& workflow_id, const client::WaitOptions& options) {
    return on_hub(&Told::row, [&](auto done) {
        return executor_.hub().add(workflow_id, inside(options), std::move(done));
    });
}

std::size_t Waiting::on_end(const std::string& workflow_id, const client::WaitOptions& options) {
    return on_hub(&Told::row, [&](auto done) {
        return executor_.hub().add_end(workflow_id, inside(options), std::move(done));
    });
}

std::size_t Waiting::on_event(const sysdb::EventKey& key, const client::WaitOptions& options) {
    return on_hub(&Told::event, [&](auto done) {
        return executor_.hub().add_event(key, inside(options), std::move(done));
    });
}

std::size_t Waiting::on_stream(const sysdb::StreamPosition& position, const client::WaitOptions& options) {
    return on_hub(&Told::there, [&](auto done) {
        return executor_.hub().add_stream(position, inside(options), std::move(done));
    });
}

std::size_t Waiting::on_message(const std::string& workflow_id, const std::string& topic) {
    const std::size_t n = add_source();
    const auto id = executor_.mailboxes().add(workflow_id, topic, [weak = weak_from_this(), n] {
        if (const auto self = weak.lock()) self->tell(n, {.there = true});
    });
    std::lock_guard lock(mutex_);
    sources_[n].mailbox = id;
    return n;
}

void Waiting::attach(std::function<void()> target) {
    std::function<void()> now;
    {
        std::lock_guard lock(mutex_);
        target_ = std::move(target);
        if (!news_.empty()) now = target_;
    }
    if (now) now();
}

bool Waiting::has_news() const {
    std::lock_guard lock(mutex_);
    return !news_.empty();
}

std::vector<std::size_t> Waiting::take_news() {
    std::lock_guard lock(mutex_);
    for (const std::size_t source : news_) sources_[source].is_news = false;
    return std::exchange(news_, {});
}

Waiting::Told Waiting::told(std::size_t source) const {
    std::lock_guard lock(mutex_);
    return sources_.at(source).told;
}

}  // namespace dbos::runtime
