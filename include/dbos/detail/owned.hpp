// detail::Owned<T>: what std::unique_ptr<T> is, less what costs every translation unit.
#pragma once

namespace dbos::detail {

/// Owns one object. Public classes hold their implementation by it: to instantiate std::unique_ptr costs a unit more.
template <class T>
class Owned {
   public:
    explicit Owned(T* object) noexcept : object_(object) {}
    ~Owned() { delete object_; }
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
    T* get() const noexcept { return object_; }
    T& operator*() const noexcept { return *object_; }
    T* operator->() const noexcept { return object_; }
    /// Forgets the object, which is never destroyed.
    void release() noexcept { object_ = nullptr; }

   private:
    T* object_;
};

}  // namespace dbos::detail
