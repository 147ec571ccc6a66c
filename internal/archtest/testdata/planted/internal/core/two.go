// The package comment of another file.
package core // planted
