//! A module of CPython's: the few functions of its stable interface, and of the C library below it, that a zygote's
//! harness needs.
//!
//! It could call them by `ctypes`. But `ctypes` loads libffi, which from 3.5 on keeps a file open, in memory that all
//! children share where it finds no other; and what is not loaded need not be copied with each of them.
//!
//! Every function here is called by CPython, with its lock held. Sources: `Include/methodobject.h`,
//! `Include/moduleobject.h`, "Extending and Embedding" of its documentation.

use core::ffi::{CStr, c_char, c_int, c_long, c_void};
use core::ptr::{null, null_mut};
use core::sync::atomic::{AtomicBool, Ordering};

/// Any object of Python's.
#[repr(C)]
#[derive(Debug)]
pub struct Object {
    _opaque: [u8; 0],
}

/// How CPython calls a function: with its module, and its argument or a tuple of them.
///
/// # Safety
/// It is called so, by CPython, with its lock held.
pub type Function = unsafe extern "C" fn(*mut Object, *mut Object) -> *mut Object;

/// `PyCompilerFlags`: flags, and the minor version of the syntax.
type CompilerFlags = [c_int; 2];

// Those that take nothing they could break are safe.
unsafe extern "C" {
    static stdin: *mut c_void;
    static mut _Py_NoneStruct: Object;
    static PyExc_OSError: *mut Object;
    static PyExc_OverflowError: *mut Object;
    static PyExc_SystemExit: *mut Object;
    safe fn Py_GetVersion() -> *const c_char;
    safe fn PyErr_Occurred() -> *mut Object;
    safe fn PyLong_FromLong(value: c_long) -> *mut Object;
    safe fn PyLong_FromVoidPtr(value: *mut c_void) -> *mut Object;
    safe fn PyErr_Clear();
    safe fn PyThreadState_Get() -> *mut c_int;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn fflush(file: *mut c_void) -> c_int;
    fn fopen(path: *const c_char, mode: *const c_char) -> *mut c_void;
    fn Py_IncRef(object: *mut Object);
    fn Py_DecRef(object: *mut Object);
    fn PyBytes_AsString(object: *mut Object) -> *const c_char;
    fn PyCapsule_GetPointer(capsule: *mut Object, name: *const c_char) -> *mut c_void;
    fn PyCapsule_New(
        pointer: *mut c_void,
        name: *const c_char,
        destructor: extern "C" fn(*mut Object),
    ) -> *mut Object;
    fn PyDict_SetItem(dict: *mut Object, key: *mut Object, value: *mut Object) -> c_int;
    fn PyErr_SetFromErrno(kind: *mut Object) -> *mut Object;
    fn PyErr_SetObject(kind: *mut Object, value: *mut Object);
    fn PyInterpreterState_GetDict(interpreter: *mut c_void) -> *mut Object;
    fn PyObject_CallFunctionObjArgs(callable: *mut Object, ...) -> *mut Object;
    fn PyObject_CallMethod(
        object: *mut Object,
        name: *const c_char,
        format: *const c_char,
        ...
    ) -> *mut Object;
    fn PyLong_AsLong(object: *mut Object) -> c_long;
    fn PyLong_AsVoidPtr(object: *mut Object) -> *mut c_void;
    fn PyModule_Create2(definition: *mut c_void, version: c_int) -> *mut Object;
    fn PyRun_AnyFileExFlags(
        file: *mut c_void,
        name: *const c_char,
        close: c_int,
        flags: *const CompilerFlags,
    ) -> c_int;
    fn PyRun_SimpleStringFlags(code: *const c_char, flags: *const CompilerFlags) -> c_int;
    fn PyTuple_GetItem(tuple: *mut Object, index: isize) -> *mut Object;
}

/// `PyMethodDef`.
#[repr(C)]
#[derive(Debug)]
pub struct Method {
    name: *const c_char,
    function: Option<Function>,
    flags: c_int,
    doc: *const c_char,
}

// SAFETY: names and functions of the program itself, which nobody writes.
unsafe impl Sync for Method {}

impl Method {
    /// Behind the last one.
    pub const END: Method = Method { name: null(), function: None, flags: 0, doc: null() };

    /// `METH_O`: called with its one argument.
    pub const fn of_one(name: &'static CStr, function: Function) -> Method {
        Method { name: name.as_ptr(), function: Some(function), flags: 8, doc: null() }
    }

    /// `METH_VARARGS`: called with a tuple.
    pub const fn of_several(name: &'static CStr, function: Function) -> Method {
        Method { name: name.as_ptr(), function: Some(function), flags: 1, doc: null() }
    }
}

/// `PyModuleDef`, of a build that has free threads: its head is two words longer than the others'.
#[repr(C)]
#[derive(Debug)]
pub struct Definition {
    head: [usize; 4],
    init: usize,
    index: isize,
    copy: usize,
    name: *const c_char,
    doc: *const c_char,
    size: isize,
    methods: *const Method,
    slots: [usize; 4],
}

impl Definition {
    /// That of a module without a state that could be made anew.
    pub const fn new(name: &'static CStr, methods: &'static [Method]) -> Definition {
        Definition {
            head: [0; 4],
            init: 0,
            index: 0,
            copy: 0,
            name: name.as_ptr(),
            doc: null(),
            size: -1,
            methods: methods.as_ptr(),
            slots: [0; 4],
        }
    }

    /// Makes the module, once.
    pub fn module(&'static mut self) -> *mut Object {
        /// `PYTHON_ABI_VERSION`.
        const STABLE: c_int = 3;
        /// `Py_MOD_GIL_NOT_USED`: the zygote has one thread.
        const NO_LOCK: usize = 1;
        // SAFETY: a text that stays.
        let version = unsafe { CStr::from_ptr(Py_GetVersion()) };
        let has_free_threads = version.to_bytes().windows(14).any(|part| part == b"free-threading");
        // The last words of the head are the head of the other builds; the rest is the same in all of them.
        let start = (&raw mut *self).cast::<usize>().wrapping_add(if has_free_threads { 0 } else { 2 });
        // SAFETY: a definition that stays, and that CPython alone has from here on.
        let module = unsafe { PyModule_Create2(start.cast(), STABLE) };
        if let Some(set) = optional(c"PyUnstable_Module_SetGIL").filter(|_| !module.is_null()) {
            // SAFETY: its declaration since CPython 3.13, in builds that have it.
            let set: extern "C" fn(*mut Object, usize) -> c_int = unsafe { core::mem::transmute(set) };
            set(module, NO_LOCK);
        }
        module
    }
}

/// A function that not every C library, or not every CPython, has.
fn optional(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: looks a name up, in all that is loaded.
    let found = unsafe { dlsym(null_mut(), name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// A number for Python.
pub fn number(value: i32) -> *mut Object {
    PyLong_FromLong(value.into())
}

/// The number that an argument is; `None`, with an exception set, if it is none.
fn to_number(argument: *mut Object) -> Option<i32> {
    if argument.is_null() {
        return None;
    }
    // SAFETY: an object.
    let value = unsafe { PyLong_AsLong(argument) };
    if value == -1 && !PyErr_Occurred().is_null() {
        return None;
    }
    let number = i32::try_from(value).ok();
    if number.is_none() {
        too_large(argument);
    }
    number
}

fn too_large(argument: *mut Object) {
    // SAFETY: CPython sets it before anything is loaded.
    let kind = unsafe { PyExc_OverflowError };
    // SAFETY: an exception, and an object as its value.
    unsafe { PyErr_SetObject(kind, argument) };
}

/// Calls a function of one number that answers a number.
///
/// # Safety
/// As [`Function`]; the argument is that one's.
pub unsafe fn call(function: impl Fn(i32) -> i32, argument: *mut Object) -> *mut Object {
    to_number(argument).map_or(null_mut(), |argument| number(function(argument)))
}

fn item(arguments: *mut Object, index: isize) -> *mut Object {
    // SAFETY: CPython calls these functions with a tuple. Borrowed from it; NULL, with an exception set, behind its end.
    unsafe { PyTuple_GetItem(arguments, index) }
}

/// The text of an argument that is `bytes`, for as long as the argument lives; `None`, with an exception set, if it is not.
fn text(argument: *mut Object) -> Option<*const c_char> {
    if argument.is_null() {
        return None;
    }
    // SAFETY: an object; its text is its own, ends with NUL, and the caller of the function holds it.
    let text = unsafe { PyBytes_AsString(argument) };
    (!text.is_null()).then_some(text)
}

/// Holds an object for ever.
///
/// # Safety
/// As [`Function`].
pub unsafe extern "C" fn hold(_: *mut Object, object: *mut Object) -> *mut Object {
    // SAFETY: an argument is an object.
    unsafe { Py_IncRef(object) };
    number(0)
}

/// Forgets an object that is ours, or the exception that came instead.
fn forget(object: *mut Object) {
    if object.is_null() {
        PyErr_Clear();
    } else {
        // SAFETY: an object, with a reference of ours.
        unsafe { Py_DecRef(object) };
    }
}

/// Calls a function without an argument, or with one.
fn call_object(function: *mut Object, argument: *mut Object) -> *mut Object {
    // SAFETY: objects, ended by NULL.
    unsafe { PyObject_CallFunctionObjArgs(function, argument, null_mut::<Object>()) }
}

/// Calls its last argument while nobody traces or profiles; before it come functions that get and set the tracer, and the
/// same for the profiler.
///
/// # Safety
/// As [`Function`].
pub unsafe extern "C" fn quietly(_: *mut Object, arguments: *mut Object) -> *mut Object {
    let [get_trace, set_trace, get_profile, set_profile, function] =
        [0, 1, 2, 3, 4].map(|at| item(arguments, at));
    if function.is_null() {
        return null_mut();
    }
    let none = &raw mut _Py_NoneStruct;
    let watchers = [(get_trace, set_trace), (get_profile, set_profile)].map(|(get, set)| {
        let watcher = call_object(get, null_mut());
        if watcher == none || watcher.is_null() {
            forget(watcher);
            return (set, None);
        }
        forget(call_object(set, none));
        (set, Some(watcher))
    });
    let answer = call_object(function, null_mut());
    if !answer.is_null() {
        for (set, watcher) in watchers {
            if let Some(watcher) = watcher {
                forget(call_object(set, watcher));
                forget(watcher);
            }
        }
    }
    answer
}

/// Has a stream flushed once nothing of Python's runs any more: when the interpreter lets go of what extension modules
/// keep with it, after all modules and threads (`PyInterpreterState_GetDict`).
///
/// # Safety
/// As [`Function`].
pub unsafe extern "C" fn flush_last(_: *mut Object, stream: *mut Object) -> *mut Object {
    extern "C" fn flush(capsule: *mut Object) {
        // SAFETY: a capsule of ours, which holds a stream.
        let stream: *mut Object = unsafe { PyCapsule_GetPointer(capsule, null()) }.cast();
        // SAFETY: an object, and a name; there is no argument.
        forget(unsafe { PyObject_CallMethod(stream, c"flush".as_ptr(), null()) });
        forget(stream);
    }
    let Some(interpreter) = optional(c"PyInterpreterState_Get") else { return number(0) };
    // SAFETY: its declaration since CPython 3.9.
    let interpreter: extern "C" fn() -> *mut c_void = unsafe { core::mem::transmute(interpreter) };
    // SAFETY: the interpreter that calls us. The dictionary is its own.
    let dict = unsafe { PyInterpreterState_GetDict(interpreter()) };
    // SAFETY: an argument is an object; the capsule gives this reference back.
    unsafe { Py_IncRef(stream) };
    // SAFETY: an object, which the capsule's end is made for.
    let capsule = unsafe { PyCapsule_New(stream.cast(), null(), flush) };
    if capsule.is_null() {
        forget(stream);
        return null_mut();
    }
    // SAFETY: three objects. Its key is itself: nobody asks for it.
    if !dict.is_null() && unsafe { PyDict_SetItem(dict, capsule, capsule) } != 0 {
        // No memory: then the stream is flushed now, which no exception may be waiting for.
        PyErr_Clear();
    }
    forget(capsule);
    number(0)
}

/// `fopen(path, "rb")`, as a number.
///
/// # Safety
/// As [`Function`].
pub unsafe extern "C" fn open(_: *mut Object, path: *mut Object) -> *mut Object {
    let Some(path) = text(path) else { return null_mut() };
    // SAFETY: two texts that end with NUL.
    let file = unsafe { fopen(path, c"rb".as_ptr()) };
    if file.is_null() {
        // SAFETY: CPython sets it before anything is loaded.
        let kind = unsafe { PyExc_OSError };
        // SAFETY: `errno` is `fopen`'s.
        return unsafe { PyErr_SetFromErrno(kind) };
    }
    PyLong_FromVoidPtr(file)
}

/// The C library's standard input, as a number.
///
/// # Safety
/// As [`Function`].
pub unsafe extern "C" fn input(_: *mut Object, _: *mut Object) -> *mut Object {
    // SAFETY: the C library sets it before anything of Python's runs.
    PyLong_FromVoidPtr(unsafe { stdin })
}

/// Writes out what the C library has buffered.
///
/// # Safety
/// As [`Function`].
pub unsafe extern "C" fn flush(_: *mut Object, _: *mut Object) -> *mut Object {
    // SAFETY: NULL stands for every file.
    number(unsafe { fflush(null_mut()) })
}

/// Gives freed memory back, where the C library can.
///
/// # Safety
/// As [`Function`].
pub unsafe extern "C" fn trim(_: *mut Object, _: *mut Object) -> *mut Object {
    let Some(trim) = optional(c"malloc_trim") else { return number(0) };
    // SAFETY: malloc_trim(3).
    let trim: extern "C" fn(usize) -> c_int = unsafe { core::mem::transmute(trim) };
    number(trim(0))
}

/// Whether the last program that was run has ended well.
static ENDED_WELL: AtomicBool = AtomicBool::new(false);

/// Whether a program has ended well since it was last asked.
///
/// # Safety
/// As [`Function`].
pub unsafe extern "C" fn ended_well(_: *mut Object, _: *mut Object) -> *mut Object {
    number(i32::from(ENDED_WELL.swap(false, Ordering::Relaxed)))
}

/// What the end of a program is to the interpreter: nothing, or an exit with 1, its exception printed.
fn end(failed: c_int) -> *mut Object {
    ENDED_WELL.store(failed == 0, Ordering::Relaxed);
    if failed == 0 {
        return number(0);
    }
    // SAFETY: CPython sets it before anything is loaded.
    let kind = unsafe { PyExc_SystemExit };
    // SAFETY: an exception, and a new object as its value.
    unsafe { PyErr_SetObject(kind, number(1)) };
    null_mut()
}

/// Runs a file of [`open`], or [`input`], by its name; then whether it is closed. More arguments are passed over.
///
/// # Safety
/// As [`Function`].
pub unsafe extern "C" fn run_file(_: *mut Object, arguments: *mut Object) -> *mut Object {
    let Some(name) = text(item(arguments, 1)) else { return null_mut() };
    let Some(close) = to_number(item(arguments, 2)) else { return null_mut() };
    // SAFETY: the tuple has a second item, and so a first.
    let file = unsafe { PyLong_AsVoidPtr(item(arguments, 0)) };
    if file.is_null() {
        // No number, which is said; `open` answers none that is NULL.
        return null_mut();
    }
    // SAFETY: the harness gives what `open` or `input` has made, once.
    end(unsafe { PyRun_AnyFileExFlags(file, name, close, null()) })
}

/// Runs source, with two numbers: the flags of its compilation, and the minor version of its syntax. More arguments are
/// passed over.
///
/// # Safety
/// As [`Function`].
pub unsafe extern "C" fn run_code(_: *mut Object, arguments: *mut Object) -> *mut Object {
    let Some(code) = text(item(arguments, 0)) else { return null_mut() };
    let Some(cookie) = to_number(item(arguments, 1)) else { return null_mut() };
    let Some(minor) = to_number(item(arguments, 2)) else { return null_mut() };
    // SAFETY: a text that ends with NUL.
    end(unsafe { PyRun_SimpleStringFlags(code, &[cookie, minor]) })
}

/// How many numbers of the thread's state there are to look at.
const STATE: i32 = 48;

/// The place of one; `None`, with an exception set, if there is none.
fn state(index: *mut Object) -> Option<*mut c_int> {
    let number = to_number(index)?;
    if !(0..STATE).contains(&number) {
        too_large(index);
        return None;
    }
    Some(PyThreadState_Get().wrapping_add(number.unsigned_abs() as usize))
}

/// A number of the thread's state.
///
/// # Safety
/// As [`Function`].
pub unsafe extern "C" fn state_at(_: *mut Object, index: *mut Object) -> *mut Object {
    let Some(place) = state(index) else { return null_mut() };
    // SAFETY: the state is longer than this in every version that is asked (up to 3.11); the thread is this one.
    number(unsafe { place.read() })
}

/// Adds to a number of the thread's state: index and summand.
///
/// # Safety
/// As [`Function`].
pub unsafe extern "C" fn add_to_state(_: *mut Object, arguments: *mut Object) -> *mut Object {
    let Some(place) = state(item(arguments, 0)) else { return null_mut() };
    let Some(summand) = to_number(item(arguments, 1)) else { return null_mut() };
    // SAFETY: as above.
    let sum = unsafe { place.read() }.wrapping_add(summand);
    // SAFETY: as above.
    unsafe { place.write(sum) };
    number(0)
}
