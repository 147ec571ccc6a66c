package script

import "time"

// Reader reads options into variables, which keep their values when an option
// is not given. It keeps the first error, so that a list of options reads as a
// list.
type Reader struct {
	Command *Command
	err     error
}

// Err is the first error.
func (r *Reader) Err() error { return r.err }

// Fail notes an error at the command's line, unless there is one already.
func (r *Reader) Fail(err error) {
	if r.err == nil && err != nil {
		r.err = r.Command.Errorf("%v", err)
	}
}

func (r *Reader) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Text reads a text.
func (r *Reader) Text(key string, v *string) { *v = r.Command.String(key, *v) }

// Float reads a number.
func (r *Reader) Float(key string, v *float64) {
	x, err := r.Command.Float(key, *v)
	*v = x
	r.keep(err)
}

// Int reads a whole number.
func (r *Reader) Int(key string, v *int) {
	x, err := r.Command.Int(key, *v)
	*v = x
	r.keep(err)
}

// Duration reads a duration.
func (r *Reader) Duration(key string, v *time.Duration) {
	x, err := r.Command.Duration(key, *v)
	*v = x
	r.keep(err)
}

// Bool reads on or off.
func (r *Reader) Bool(key string, v *bool) {
	x, err := r.Command.Bool(key, *v)
	*v = x
	r.keep(err)
}
